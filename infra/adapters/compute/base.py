"""What the rest of the system needs from whatever starts bundle hosts."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Literal, Protocol, Self

from configs.wire.host import HostCommand, HostMessage, HostRequest

CageLevel = Literal["bubblewrap", "limits"]


class BundleHost(Protocol):
    """One running bundle host. A context manager: on exit it is killed if it still runs."""

    @property
    def pid(self) -> int:
        """The process to watch; when it is gone, everything the bundle started is gone."""
        ...

    def messages(self) -> Iterator[HostMessage]:
        """Yield checked messages until the host has ended.

        Raises:
            HostDiedError: If it ended, fell silent, or broke the protocol before it had answered.
        """
        ...

    def send(self, command: HostCommand) -> None:
        """Send a command. A host that is gone is no error: `messages` tells.

        Any thread may call this, while another reads `messages`.
        """
        ...

    def stop(self) -> None:
        """Ask it to end at the next step."""
        ...

    def kill(self) -> None:
        """End it and all it started, at once."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class BundleHosts(Protocol):
    """Starts bundle hosts in the strongest cage that this machine offers."""

    @property
    def level(self) -> CageLevel:
        """`bubblewrap`, or `limits`: rlimits and a clean environment, which is no security boundary."""
        ...

    def start(
        self,
        request: HostRequest,
        *,
        work: Path,
        bundle: Path,
        readable: Sequence[Path] = (),
        threads: int | None = None,
    ) -> BundleHost:
        """Start a host on a request.

        Args:
            request: What to do. Files that it names may be read; its `out` and `cache` may be written.
            work: Empty folder of this attempt; `in`, `out`, `tmp` and `log.txt` are made in it.
            bundle: The unpacked bundle; read-only to the host.
            readable: More folders or files that may be read, such as the folder of the cases' images.
            threads: Compute threads; None = all cores.
        """
        ...

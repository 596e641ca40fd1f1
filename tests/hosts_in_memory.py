"""Bundle hosts that are no processes: a test says what they answer."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from configs.wire.host import HostCommand, HostMessage, HostRequest
from infra.adapters.compute.base import CageLevel
from infra.wiring import Parts


class HostInMemory:
    """One host; what a test does not expect of it is an error."""

    pid = 0

    def messages(self) -> Iterator[HostMessage]:
        """Say what there is to say."""
        raise NotImplementedError

    def send(self, command: HostCommand) -> None:
        """Take a command."""
        raise NotImplementedError

    def stop(self) -> None:
        """Be asked to end."""
        raise NotImplementedError

    def kill(self) -> None:
        """Be ended."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End."""


class HostsInMemory:
    """Starts such hosts."""

    level: CageLevel = "limits"

    def host(self, request: HostRequest, work: Path) -> HostInMemory:
        """Return the host that is started on a request."""
        raise NotImplementedError

    def start(
        self,
        request: HostRequest,
        *,
        work: Path,
        bundle: Path,
        readable: Sequence[Path] = (),
        writable: Sequence[Path] = (),
        threads: int | None = None,
    ) -> HostInMemory:
        """Start one."""
        del bundle, readable, writable, threads
        return self.host(request, work)

    def put_into(self, parts: Parts) -> Self:
        """Have these parts start hosts here."""
        parts.__dict__["hosts"] = self  # where the property keeps what it opened
        return self

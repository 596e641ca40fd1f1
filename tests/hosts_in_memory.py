"""Bundle hosts that are no processes: a test says what they answer."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

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

    def __exit__(self, *_: object) -> None:
        """End."""


class HostsInMemory:
    """Starts such hosts."""

    level: CageLevel = "limits"

    def host(self, request: HostRequest, work: Path) -> HostInMemory:
        """Return the host that is started on a request."""
        raise NotImplementedError

    def start(self, request: HostRequest, *, work: Path, **_: Any) -> HostInMemory:
        """Start one; what only a process needs to know is not looked at."""
        return self.host(request, work)

    def put_into(self, parts: Parts) -> Self:
        """Have these parts start hosts here."""
        parts.__dict__["hosts"] = self  # where the property keeps what it opened
        return self

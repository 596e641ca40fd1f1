"""Which version answers: one reference, read once when a request is accepted."""

from dataclasses import dataclass
from threading import Lock

from configs.errors import BusyError
from infra.adapters.catalog.slots import Published
from infra.doors.realtime.engine import Engine

RETRY_S = 5


@dataclass(eq=False)
class Served:
    """A loaded version: what it is, the host that has it, and the host's name for it."""

    published: Published
    engine: Engine
    name: str
    users: int = 0
    retired: bool = False


class Versions:
    """The version that new requests get, and older ones that still answer. Safe to use from several threads."""

    def __init__(self) -> None:
        self._current: Served | None = None
        self._retiring: list[Served] = []
        self._lock = Lock()

    @property
    def current(self) -> Served | None:
        """What new requests get."""
        return self._current

    @property
    def settled(self) -> bool:
        """Whether no older version is left: another may be loaded."""
        return not self._retiring

    def loaded(self) -> list[Served]:
        """Return every version that is loaded, the current one first."""
        with self._lock:
            return [*([self._current] if self._current else []), *self._retiring]

    def bind(self) -> Served:
        """Bind a request to the current version until `unbind`.

        Raises:
            BusyError: If its host is gone; it is being started again.
        """
        with self._lock:
            current = self._current
            if current is None or not current.engine.alive:
                raise BusyError("The model's process is starting again: ask again in a moment", retry_after_s=RETRY_S)
            current.users += 1
            return current

    def unbind(self, served: Served) -> None:
        """End a request; an older version leaves with its last one."""
        with self._lock:
            served.users -= 1
            # Decided under the lock, done outside of it: dropping talks to the host, and requests must not wait for
            # that.
            leaves = served.retired and served.users == 0
        if leaves:
            self._forget(served)

    def switch(self, new: Served) -> None:
        """Give *new* to every request from now on."""
        with self._lock:
            old, self._current = self._current, new
            if old is None:
                return
            old.retired = True
            self._retiring.append(old)
            leaves = old.users == 0
        if leaves:
            self._forget(old)

    def _forget(self, old: Served) -> None:
        old.engine.drop(old.name)
        with self._lock:
            self._retiring.remove(old)
        if all(served.engine is not old.engine for served in self.loaded()):
            old.engine.close()

"""Says on a device that a live request is being computed, so that training there waits."""

from pathlib import Path
from threading import Condition, Thread
from types import TracebackType

from configs.wire.busy import LASTS_S, BusyMark


class Busy:
    """Sets the device's mark while anybody is inside; safe to use from several threads.

    Args:
        mark: Its file.
    """

    def __init__(self, mark: Path) -> None:
        self._mark = BusyMark(mark, writable=True)
        self._inside = 0
        self._changed = Condition()
        Thread(target=self._keep, name="busy-mark", daemon=True).start()

    def __enter__(self) -> None:
        self._mark.set()
        with self._changed:
            self._inside += 1
            self._changed.notify_all()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._changed:
            self._inside -= 1

    def _keep(self) -> None:
        """Set it again before it is over."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._inside > 0)
            self._mark.set()
            with self._changed:
                self._changed.wait_for(lambda: self._inside == 0, LASTS_S / 4)

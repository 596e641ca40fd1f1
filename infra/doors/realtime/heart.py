"""Keeps the slot's lease alive, and hears what the catalog says."""

import logging
from threading import Event, Thread
from types import TracebackType
from typing import Self

from configs.errors import UpstreamError
from infra.adapters.catalog.slots import Beat
from tasks.serving.hold import Hold

log = logging.getLogger(__name__)


class Heart:
    """Renews the lease in a thread of its own, so that neither loading nor draining stops it.

    While the catalog cannot be reached, what it said last stands.

    Args:
        hold: The slot.
        every_s: Seconds between two beats.
        wake: Set when something has changed.
    """

    def __init__(self, hold: Hold, every_s: float, wake: Event) -> None:
        self._hold = hold
        self._every_s = every_s
        self._wake = wake
        self._end = Event()
        self._last = Beat(desired=True, published_seq=0)
        self._lost = False
        self._thread = Thread(target=self._run, name="heartbeat", daemon=True)

    @property
    def last(self) -> Beat:
        """What the catalog said last."""
        return self._last

    @property
    def lost(self) -> bool:
        """Whether another process holds the slot by now."""
        return self._lost

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end.set()
        self._thread.join()

    def _run(self) -> None:
        reachable = True
        while not self._lost:
            try:
                beat = self._hold.renew()
            except UpstreamError as error:
                if reachable:
                    log.warning("catalog unreachable", extra={"said": {"error": str(error)}})
                reachable = False
            else:
                reachable = True
                self._note(beat)
            if self._end.wait(self._every_s):
                return

    def _note(self, beat: Beat | None) -> None:
        if beat == self._last:
            return
        if beat is None:
            self._lost = True
        else:
            self._last = beat
        self._wake.set()

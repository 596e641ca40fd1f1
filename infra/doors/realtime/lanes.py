"""Who may come in: a bounded lane of live requests, and a small one for what can wait."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import Empty, Full, Queue
from threading import Condition, Thread

from configs.errors import BusyError
from configs.wire.slot import SlotPredict

# About one inference: a place is free by then.
RETRY_S = 2


class DrainingError(BusyError):
    """This slot finishes what it has and takes nothing new."""


class Lanes:
    """Counts live requests and keeps the background ones. Safe to use from several threads.

    Args:
        live_limit: Live requests at once, waiting ones included; more are refused.
        background_limit: Background requests that may wait; more are dropped.
        work: Does one background request; raises nothing.
    """

    def __init__(self, live_limit: int, background_limit: int, work: Callable[[SlotPredict], None]) -> None:
        self._live_limit = live_limit
        self._work = work
        self._live = 0
        self._closed = False
        self._changed = Condition()
        self._background: Queue[SlotPredict | None] = Queue(background_limit)
        self._worker = Thread(target=self._do_background, name="background-lane", daemon=True)
        self._worker.start()

    @property
    def accepting(self) -> bool:
        """Whether new requests come in."""
        return not self._closed

    @property
    def live(self) -> int:
        """Live requests that are in."""
        return self._live

    @property
    def background(self) -> int:
        """Background requests that wait."""
        return self._background.qsize()

    def enter(self) -> None:
        """Let a live request in; `leave` must follow.

        Raises:
            DrainingError: If the slot takes nothing new.
            BusyError: If too many are in.
        """
        with self._changed:
            if self._closed:
                raise DrainingError("This realtime server is being stopped: ask again", retry_after_s=RETRY_S)
            if self._live >= self._live_limit:
                raise BusyError(
                    f"{self._live} predictions are under way, more than {self._live_limit} are not taken: ask again",
                    retry_after_s=RETRY_S,
                )
            self._live += 1

    def leave(self) -> None:
        """Say that a live request is answered."""
        with self._changed:
            self._live -= 1
            self._changed.notify_all()

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Be in as a live request; raises as `enter`."""
        self.enter()
        try:
            yield
        finally:
            self.leave()

    def offer(self, request: SlotPredict) -> None:
        """Take a background request for later.

        Raises:
            DrainingError: If the slot takes nothing new.
            BusyError: If the lane is full.
        """
        if self._closed:
            raise DrainingError("This realtime server is being stopped", retry_after_s=RETRY_S)
        try:
            # Never waited for: whoever sends a hint has an answer to give to somebody.
            self._background.put_nowait(request)
        except Full:
            raise BusyError("The background lane is full; the request was dropped", retry_after_s=RETRY_S) from None

    def close(self) -> None:
        """Take nothing new and drop what waits in the background."""
        with self._changed:
            self._closed = True
        while True:
            try:
                self._background.get_nowait()
            except Empty:
                break
        # Wakes the worker, which may be waiting for something to do.
        self._background.put(None)

    def wait_idle(self, timeout_s: float) -> bool:
        """Wait until every live request is answered; False if some are not after *timeout_s*."""
        with self._changed:
            return self._changed.wait_for(lambda: self._live == 0, timeout_s)

    def _do_background(self) -> None:
        while (request := self._background.get()) is not None:
            # Closed between taking it and now: it is dropped like those behind it.
            if not self._closed:
                self._work(request)

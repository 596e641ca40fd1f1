"""Loads what is published: at the start, beside what serves when it changes, and again when a host died."""

import logging
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from configs.errors import CorruptError, HostDiedError, HostError, InvalidRequestError, TeachbackError
from configs.states import SlotState
from configs.wire.host import ServeRequest
from infra.adapters.cache.trim import trim
from infra.adapters.catalog.slots import Published
from infra.doors.realtime.engine import CACHE, Engine
from infra.doors.realtime.versions import Served, Versions
from infra.wiring import Parts
from tasks.bundles.catalog import bundle_folder
from tasks.devices.hold import Share
from tasks.serving.hold import Hold

log = logging.getLogger(__name__)

# The old version serves on meanwhile, so there is time; a version that fails four times is given up.
SWAP_RETRY_S = (5.0, 30.0, 120.0)
TRIM_EVERY_S = 60.0
# Nobody is served until it is back: at once first, then slower, for what killed it may do so again.
REVIVE_RETRY_S = (0.0, 1.0, 5.0, 15.0, 30.0)
# One that lived this long did not die of what killed the one before: counting starts anew.
_HEALTHY_S = 60.0


@dataclass
class _Trial:
    """How often something has failed in a row, and when it may be tried again (monotonic seconds)."""

    seq: int = 0
    failures: int = 0
    due_at: float = 0.0
    given_up: bool = False
    began_at: float = field(default_factory=time.monotonic)


class Models:
    """The versions of one slot, and the hosts that have them. `tend` is called by one thread, again and again.

    Args:
        parts: This process's.
        hold: The slot.
        versions: Filled by this.
        swap_retry_s: Seconds before each new try to load a publication; then it counts as failed.
    """

    def __init__(
        self,
        parts: Parts,
        hold: Hold,
        versions: Versions,
        swap_retry_s: tuple[float, ...] = SWAP_RETRY_S,
    ) -> None:
        self._share: Share | None = None
        self._parts = parts
        self._hold = hold
        self._versions = versions
        self._swap_retry_s = swap_retry_s
        self._engines: list[Engine] = []
        self._numbers = count(1)
        self._closed = False
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="models")
        self._job: Future[object] | None = None
        self._swap = _Trial()
        self._revival = _Trial()
        self._trim_at = time.monotonic() + TRIM_EVERY_S

    def start(self, share: Share) -> "Future[None]":
        """Begin to load what is published; once it is done without an error, `Versions.current` serves.

        Args:
            share: The part of a device that hosts get.
        """
        self._share = share
        return self._worker.submit(self._start)

    def tend(self, published_seq: int) -> None:
        """Begin what is due, and go on with what was begun; returns at once.

        Raises:
            HostDiedError: If the host died again and again: this process should end, and another try.
        """
        if self._job is not None:
            if not self._job.done():
                return
            job, self._job = self._job, None
            job.result()
        current = self._versions.current
        if current is None:
            return
        if not current.engine.alive:
            self._revive_when_due(current)
        elif published_seq > current.published.seq and self._versions.settled:
            self._swap_when_due(published_seq)
        elif time.monotonic() >= self._trim_at:
            self._trim_at = time.monotonic() + TRIM_EVERY_S
            self._begin(lambda: trim(current.engine.cache, self._parts.settings.cache_bytes // 4))

    def shrink(self, memory_mib: float) -> bool:
        """Have the hosts do with less memory; says whether they do."""
        for engine in self._engines:
            engine.shrink(memory_mib)
        return bool(self._engines)

    def close(self) -> None:
        """End every host; what is being loaded fails."""
        self._closed = True
        # Before the worker, which may wait for one of them; and after it, since it may have started one more.
        for engine in list(self._engines):
            engine.close()
        self._worker.shutdown(cancel_futures=True)
        for engine in self._engines:
            engine.close()

    def _start(self) -> None:
        self._versions.switch(self._load(self._published()))

    def _published(self) -> Published:
        published = self._hold.published()
        if published is None:
            raise InvalidRequestError("This experiment has no model yet: label images and let a round publish one")
        return published

    def _begin(self, work: Callable[[], object]) -> None:
        self._job = self._worker.submit(work)

    def _swap_when_due(self, seq: int) -> None:
        if self._swap.seq != seq:
            self._swap = _Trial(seq)
        if not self._swap.given_up and time.monotonic() >= self._swap.due_at:
            self._begin(self._swap_now)

    def _swap_now(self) -> None:
        began = time.monotonic()
        try:
            self._hold.become(SlotState.SWAPPING)
            published = self._published()
            new = self._load(published)
            # Before it serves: in a slot that is another process's by now nothing new may begin.
            self._announce(new)
        except (TeachbackError, OSError) as error:
            self._swap_failed(error)
            return
        self._versions.switch(new)
        log.info("swapped", extra={"said": {"seq": published.seq, "seconds": round(time.monotonic() - began, 3)}})

    def _announce(self, new: Served) -> None:
        """Write what will be served; if that fails, *new* leaves again."""
        try:
            self._hold.swapped(new.published.seq)
        except TeachbackError:
            new.engine.drop(new.name)
            self._close_unused(new.engine)
            raise

    def _swap_failed(self, error: Exception) -> None:
        """The old version goes on; only what the version itself did wrong counts against it."""
        trial = self._swap
        if _is_its_own_fault(error):
            trial.given_up = trial.failures >= len(self._swap_retry_s)
        wait_s = self._swap_retry_s[min(trial.failures, len(self._swap_retry_s) - 1)]
        trial.failures += 1 if _is_its_own_fault(error) else 0
        trial.due_at = time.monotonic() + wait_s
        said = {"seq": trial.seq, "error": type(error).__name__, "given_up": trial.given_up}
        log.warning("swap failed", extra={"said": said})
        try:
            self._hold.swap_failed(_reason(error), trial.seq if trial.given_up else None)
        except TeachbackError:
            return  # the heartbeat finds out what this means

    def _revive_when_due(self, current: Served) -> None:
        trial = self._revival
        if time.monotonic() - trial.began_at > _HEALTHY_S:
            self._revival = trial = _Trial()
        if trial.failures >= len(REVIVE_RETRY_S):
            raise HostDiedError("The model's process died again and again; the slot starts anew")
        if trial.due_at == 0.0:
            trial.due_at = time.monotonic() + REVIVE_RETRY_S[trial.failures]
        if time.monotonic() >= trial.due_at:
            trial.failures += 1
            trial.due_at = 0.0
            trial.began_at = time.monotonic()
            self._begin(lambda: self._revive(current.published))

    def _revive(self, published: Published) -> None:
        log.warning("host died", extra={"said": {"seq": published.seq}})
        try:
            self._versions.switch(self._load(published))
        except (TeachbackError, OSError) as error:
            log.warning("host not started again", extra={"said": {"error": type(error).__name__}})

    def _load(self, published: Published) -> Served:
        """Load a version into the host that has its bundle, or into one more, and run a forward with it."""
        weights = self._parts.blobs.path(published.weights) if published.weights else None
        engine = self._engine(published)
        name = f"{published.version_id}-{next(self._numbers)}"
        try:
            arrangement = engine.load(name, weights)
        except (TeachbackError, OSError):
            self._close_unused(engine)
            raise
        log.info("loaded", extra={"said": {"seq": published.seq, "arrangement": arrangement}})
        return Served(published, engine, name)

    def _close_unused(self, engine: Engine) -> None:
        if all(served.engine is not engine for served in self._versions.loaded()):
            engine.close()

    def _engine(self, published: Published) -> Engine:
        for served in self._versions.loaded():
            if served.engine.alive and served.published.bundle_id == published.bundle_id:
                return served.engine
        bundle = bundle_folder(self._parts, published.bundle_id)
        images = self._parts.settings.cache_dir / "raw"
        images.mkdir(parents=True, exist_ok=True)
        work = work_folder(self._parts, self._hold.slot_id) / f"{self._hold.epoch}-{next(self._numbers)}"
        request = ServeRequest(
            bundle=str(bundle),
            labels=published.labels,
            out=str(work / "out"),
            cache=str(work / CACHE),
            device=self._share.device if self._share else None,
        )
        (work / CACHE).mkdir(parents=True)
        engine = Engine(self._parts.hosts.start(request, work=work, bundle=bundle, readable=[images]), work)
        self._engines = [*(other for other in self._engines if other.alive), engine]
        if self._closed:
            engine.close()
        try:
            engine.wait_ready()
        except TeachbackError:
            engine.close()
            raise
        return engine


def work_folder(parts: Parts, slot_id: str) -> Path:
    """Return where the hosts of a slot work."""
    return parts.settings.home / "work" / "slots" / slot_id


def _is_its_own_fault(error: Exception) -> bool:
    return isinstance(error, HostError | CorruptError)


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, TeachbackError) else f"This host failed ({type(error).__name__})"

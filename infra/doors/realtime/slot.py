"""One slot's life: claim it, load, serve, follow what is published, drain, let go."""

import logging
import os
import secrets
import shutil
import socket
import uuid
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from threading import Event

from configs.errors import CorruptError, HostError, SupersededError, TeachbackError, UpstreamError
from configs.states import SlotState
from infra.adapters.catalog.slots import SlotClaimant
from infra.doors.realtime.answers import Answers
from infra.doors.realtime.app import create_app
from infra.doors.realtime.busy import Busy
from infra.doors.realtime.heart import Heart
from infra.doors.realtime.models import SWAP_RETRY_S, Models, work_folder
from infra.doors.realtime.server import listening
from infra.doors.realtime.versions import Versions
from infra.wiring import Parts
from tasks.devices.hold import Calls, Share, holding
from tasks.devices.needs import slot_need
from tasks.serving.hold import Hold, claim, in_unit
from tasks.serving.on_demand import HOLDER
from tasks.serving.slots import make_room_on

log = logging.getLogger(__name__)

EXIT_DONE = 0
EXIT_FAILED = 1
# Not 2, which Python uses for a wrong call.
EXIT_LOST = 3
# How late a new version may be noticed; a look is one read.
_TICK_S = 0.25


@dataclass(frozen=True)
class Limits:
    """How much a slot takes on; times in seconds."""

    live: int = 32
    background: int = 4
    drain_s: float = 30.0
    device_wait_s: float = 30.0
    swap_retry_s: tuple[float, ...] = SWAP_RETRY_S


class _End(Enum):
    """Why a slot ends."""

    ASKED = "asked to"
    UNWANTED = "no longer wanted"
    LOST = "lost"


class _EndedError(Exception):
    """The slot ends while it waits for a device."""

    def __init__(self, end: _End) -> None:
        super().__init__(end.value)
        self.end = end


class SlotProcess:
    """Serves one slot from its claim to its end.

    Args:
        parts: This process's.
        slot_id: The slot.
        stop: Set by SIGTERM.
        limits: How much it takes on.
    """

    def __init__(self, parts: Parts, slot_id: str, stop: Event, limits: Limits | None = None) -> None:
        self._parts = parts
        self._slot_id = slot_id
        self._stop = stop
        self._limits = limits or Limits()
        self._wake = Event()

    def run(self) -> int:
        """Serve; returns the exit status: 0 ended as wanted or not ours, 1 failed, 3 lost to another process.

        Raises:
            UpstreamError: If the catalog cannot be reached for the claim.
        """
        # New with every claim: who knew the last holder's cannot call this one.
        token = secrets.token_hex(32)
        claimant = SlotClaimant(str(uuid.uuid4()), socket.gethostname(), os.getpid(), token)
        hold = claim(self._parts, self._slot_id, claimant)
        if hold is None:
            log.info("not claimed")
            return EXIT_DONE
        log.info("claimed", extra={"said": {"epoch": hold.epoch}})
        # Only now that the slot is ours: before, these files may have been somebody's.
        self._sweep(hold)
        with Heart(hold, self._parts.settings.slot_heartbeat_s, self._wake) as heart:
            try:
                end = self._serve(hold, heart, token)
            except SupersededError:
                end = _End.LOST
            except (TeachbackError, OSError) as error:
                return self._fail(hold, error)
        log.info("ended", extra={"said": {"why": end.value}})
        if end is _End.LOST:
            return EXIT_LOST
        with suppress(SupersededError, UpstreamError):
            hold.release()
        return EXIT_DONE

    def _serve(self, hold: Hold, heart: Heart, token: str) -> _End:
        """Serve with a part of a device, which is held from before the first host starts until after the last ended."""
        versions = Versions()
        models = Models(self._parts, hold, versions, self._limits.swap_retry_s)
        need = slot_need(self._parts, hold.published())

        def check() -> None:
            """End the wait for a device when the slot is no longer to serve."""
            if end := self._end(heart):
                raise _EndedError(end)

        try:
            with holding(
                self._parts,
                need,
                holder=HOLDER + self._slot_id,
                lease_s=self._parts.settings.slot_lease_s,
                wait_s=self._limits.device_wait_s,
                calls=Calls(check, self._make_room, lambda: models.shrink(need.least)),
            ) as share:
                return self._answer(hold, heart, token, models, versions, share)
        except _EndedError as ended:
            return ended.end

    def _answer(self, hold: Hold, heart: Heart, token: str, models: Models, versions: Versions, share: Share) -> _End:
        try:
            if end := self._load(models, heart, share):
                return end
            answers = Answers(
                self._parts,
                self._slot_id,
                versions,
                Busy(share.busy),
                live_limit=self._limits.live,
                background_limit=self._limits.background,
            )
            with listening(create_app(answers, token)) as endpoint:
                seq = versions.current.published.seq if versions.current else 0
                hold.become_ready(endpoint, seq)
                log.info("ready", extra={"said": {"seq": seq}})
                end = self._follow(models, heart)
                self._drain(answers, hold, end)
            return end
        finally:
            models.close()

    def _make_room(self) -> None:
        in_unit(self._parts, lambda session: make_room_on(session, socket.gethostname(), self._slot_id))

    def _load(self, models: Models, heart: Heart, share: Share) -> _End | None:
        """Load what is published; an end that comes first is returned."""
        loading = models.start(share)
        loading.add_done_callback(lambda _: self._wake.set())
        while not loading.done():
            if end := self._end(heart):
                return end
            self._pause()
        loading.result()
        return None

    def _follow(self, models: Models, heart: Heart) -> _End:
        while (end := self._end(heart)) is None:
            models.tend(heart.last.published_seq)
            self._pause()
        return end

    def _drain(self, answers: Answers, hold: Hold, end: _End) -> None:
        """Take nothing new and finish what was accepted."""
        # First of all: what is let in after the row says draining would have nobody to answer it.
        answers.lanes.close()
        if end is not _End.LOST:
            with suppress(SupersededError, UpstreamError):
                hold.become(SlotState.DRAINING)
        if not answers.lanes.wait_idle(self._limits.drain_s):
            log.warning("not drained in time", extra={"said": {"left": answers.lanes.live}})

    def _end(self, heart: Heart) -> _End | None:
        if heart.lost:
            return _End.LOST
        if not heart.last.desired:
            return _End.UNWANTED
        return _End.ASKED if self._stop.is_set() else None

    def _pause(self) -> None:
        self._wake.wait(_TICK_S)
        self._wake.clear()

    def _fail(self, hold: Hold, error: Exception) -> int:
        """Say why, so that whoever waits for the slot reads it."""
        log.error("failed", extra={"said": {"error": type(error).__name__}})
        its_own = isinstance(error, HostError | CorruptError)
        with suppress(SupersededError, UpstreamError):
            published = hold.published()
            reason = str(error) if isinstance(error, TeachbackError) else f"This host failed ({type(error).__name__})"
            hold.release(error=reason, failed_seq=published.seq if published and its_own else None)
        return EXIT_FAILED

    def _sweep(self, hold: Hold) -> None:
        """Remove what hosts of a process that was killed left behind."""
        for folder in work_folder(self._parts, self._slot_id).glob("*-*"):
            # Epochs grow with each claim: a lower one's process has lost the slot, alive or not.
            if int(folder.name.split("-")[0]) < hold.epoch:
                shutil.rmtree(folder, ignore_errors=True)

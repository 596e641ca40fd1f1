"""One request from acceptance to answer."""

import logging
import time
import uuid
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from threading import Lock
from typing import NamedTuple

from configs.errors import TeachbackError, UnreadableError
from configs.kinds import LabelKind
from configs.specs.infer import InferSpec
from configs.wire.slot import SlotHealth, SlotPredict
from infra.adapters.catalog.tables import Image
from infra.doors.realtime.busy import Busy
from infra.doors.realtime.engine import Engine
from infra.doors.realtime.lanes import Lanes
from infra.doors.realtime.versions import Served, Versions
from infra.wiring import Parts
from tasks.images import poison
from tasks.selection.scores import keep_entropy
from tasks.serving.answers import Origin, SlotImages, encoded, keep, kept, prediction_key

log = logging.getLogger(__name__)

LIVE_FIRST_S = 10.0  # that a background request waits for live ones: it must not hold an old version for long


class Ticket(NamedTuple):
    """An accepted request, and the version that it ends on. `since` by the monotonic clock, in seconds."""

    request: SlotPredict
    served: Served
    since: float


class Answer(NamedTuple):
    """An answer's bytes, of which kind they are, and where they come from."""

    content: bytes
    kind: LabelKind
    version: str
    seq: int
    cached: bool
    seconds: float
    score: float | None


class _Flight:
    """A prediction under way, which whoever asks the same meanwhile waits for, too.

    Args:
        engine: That makes it.
        background: Whether it gives way to others, until somebody waits for it.
    """

    def __init__(self, engine: Engine, *, background: bool) -> None:
        self.name = uuid.uuid4().hex
        self.background = background
        self.landed: Future[tuple[bytes, Origin]] = Future()
        self._engine = engine

    def join(self, *, background: bool) -> tuple[bytes, Origin]:
        """Wait for it, in a hurry unless it is for the background; raises what it raises."""
        if self.background and not background:
            self.background = False
            self._engine.hurry(self.name)
        return self.landed.result()


class Answers:
    """Does requests, live ones in their callers' threads and background ones in the lane's.

    Args:
        parts: This process's.
        slot_id: For `health`.
        versions: What answers.
        busy: Entered while a live request is computed.
        live_limit: See `Lanes`.
        background_limit: See `Lanes`.
    """

    def __init__(
        self, parts: Parts, slot_id: str, versions: Versions, busy: Busy, *, live_limit: int, background_limit: int
    ) -> None:
        self._busy = busy
        self._parts = parts
        self._slot_id = slot_id
        self._versions = versions
        self._images = SlotImages(parts)
        self._flights: dict[str, _Flight] = {}
        self._flights_lock = Lock()
        self._read_one = False
        # One thread will do: what it keeps was answered already.
        self._keeper = ThreadPoolExecutor(1, "keep")
        self.lanes = Lanes(live_limit, background_limit, self._do_background)

    def accept(self, request: SlotPredict) -> Ticket:
        """Let a live request in and bind it to the current version.

        Raises:
            BusyError: If there is no room, or no host.
        """
        self.lanes.enter()
        try:
            return Ticket(request, self._versions.bind(), time.monotonic())
        except BaseException:  # it goes on up; the place in the lane must not stay taken
            self.lanes.leave()
            raise

    def answer(self, ticket: Ticket) -> Answer:
        """Do an accepted request.

        Raises:
            TeachbackError: Of the image, its store, or the bundle.
        """
        try:
            return self._logged(ticket)
        finally:
            self._versions.unbind(ticket.served)
            self.lanes.leave()

    def offer(self, request: SlotPredict) -> None:
        """Take a background request for later; raises as `Lanes.offer`."""
        self.lanes.offer(request)

    def health(self) -> SlotHealth:
        """Say how the slot is."""
        current = self._versions.current
        return SlotHealth(
            slot=self._slot_id,
            version=current.published.version_id if current else "",
            seq=current.published.seq if current else 0,
            accepting=self.lanes.accepting and current is not None and current.engine.alive,
            live_waiting=self.lanes.live,
            background_waiting=self.lanes.background,
        )

    def _do_background(self, request: SlotPredict) -> None:
        try:
            served = self._versions.bind()
        except TeachbackError:
            return
        try:
            answer = self._logged(Ticket(request, served, time.monotonic()))
            if answer.score is not None and request.spec == InferSpec():
                keep_entropy(self._parts, answer.version, request.image_id, answer.score)
        except Exception:  # noqa: BLE001 - the edge of the background thread; the failure is logged, nobody waits for it
            return
        finally:
            self._versions.unbind(served)

    def _logged(self, ticket: Ticket) -> Answer:
        """Do the request and leave one line about it: catalog ids only, never a name or a path."""
        said = {"image": ticket.request.image_id, "seq": ticket.served.published.seq}
        said["background"] = ticket.request.background
        try:
            answer = self._do(ticket)
        except Exception as error:  # it goes on up; whatever it is, the log has one line of each request
            log.warning("prediction failed", extra={"said": {**said, "error": type(error).__name__}})
            raise
        log.info("predicted", extra={"said": {**said, "cached": answer.cached, "seconds": round(answer.seconds, 4)}})
        return answer

    def _do(self, ticket: Ticket) -> Answer:
        request, served = ticket.request, ticket.served
        if request.address:
            image = self._images.behind(request.address)
        else:
            image = self._images.find(request.dataset_id, request.image_id)
        key = prediction_key(image, served.published.version_id, request.spec, request.form)
        found = self._known(key)
        cached = found is not None
        if found is None and request.background:
            self.lanes.wait_idle(LIVE_FIRST_S)
            found = self._known(key)  # one of them may have asked the same, as hints foretell
        if found is None:
            # Only what somebody waits for makes training give way.
            with nullcontext() if request.background else self._busy:
                found = self._together(key, image, served, request)
        content, origin = found
        seconds = time.monotonic() - ticket.since
        return Answer(content, origin.kind, origin.version, served.published.seq, cached, seconds, origin.score)

    def _known(self, key: str) -> tuple[bytes, Origin] | None:
        """Return what was predicted before: kept on disk, or about to be."""
        with self._flights_lock:
            flight = self._flights.get(key)
        return flight.landed.result() if flight and flight.landed.done() else kept(self._parts, key)

    def _together(self, key: str, image: Image, served: Served, request: SlotPredict) -> tuple[bytes, Origin]:
        """Predict, or wait for whoever predicts the same already. It is kept after it was answered."""
        with self._flights_lock:
            flight = self._flights.get(key)
            mine = flight is None
            if flight is None:
                flight = self._flights[key] = _Flight(served.engine, background=request.background)
        if not mine:
            return flight.join(background=request.background)
        try:
            found = self._predict(served, image, request, flight)
        except BaseException as error:  # it goes on up, here and to everybody who waits for the same
            self._forget(key)  # first: whoever comes after the failure tries anew
            flight.landed.set_exception(error)
            raise
        flight.landed.set_result(found)
        self._keeper.submit(self._keep, key, *found)
        return found

    def _keep(self, key: str, content: bytes, origin: Origin) -> None:
        try:
            keep(self._parts, key, content, origin)
        except (OSError, TeachbackError) as error:  # it was answered: only who asks again waits again
            log.warning("prediction not kept", extra={"said": {"error": type(error).__name__}})
        finally:
            self._forget(key)

    def _forget(self, key: str) -> None:
        with self._flights_lock:
            del self._flights[key]

    def _predict(self, served: Served, image: Image, request: SlotPredict, flight: _Flight) -> tuple[bytes, Origin]:
        with self._parts.cache.pin() as pin:
            local = self._images.local(image, pin)
            try:
                prediction = served.engine.predict(
                    served.name, local.files, request.spec, request=flight.name, background=flight.background
                )
            except UnreadableError as error:
                poison.unprepared(self._parts, image, error, reads_others=self._read_one)
                raise
            # From now on an image that fails is the image's fault, not the bundle's.
            self._read_one = True
            label = Path(prediction.path)
            try:
                content, kind = encoded(label, local.path, request.form)
            finally:
                label.unlink(missing_ok=True)
        return content, Origin(version=served.published.version_id, score=prediction.score, kind=kind)

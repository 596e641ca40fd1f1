"""Holding a part of a device while a bundle host computes."""

import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Thread
from typing import NamedTuple

from sqlalchemy.exc import SQLAlchemyError

from configs.errors import NoRoomError
from configs.wire import busy
from configs.wire.host import HostRequest, TrainRequest
from configs.wire.message import DeviceShare
from infra.adapters.catalog.tables import DeviceClaim
from infra.adapters.compute.base import BundleHost
from infra.wiring import Parts
from tasks.devices import claims
from tasks.devices.claims import Claimant, Got, Need, Short
from tasks.devices.here import Found, born, devices, host, processor

log = logging.getLogger(__name__)

# A tenth of the processor beside somebody who waits; all of it where nobody does.
NICE = 10
RETRY_S = 1.0


class Share(NamedTuple):
    """A part of a device: what its bundle host is told, its compute threads (None = all), and the mark it may read."""

    device: DeviceShare
    threads: int | None
    busy: Path


class Calls(NamedTuple):
    """What a holder is told, and may do.

    Attributes:
        check: Called while waiting; what it raises ends the wait.
        on_short: Called each time that there is too little memory; it may make room.
        on_asked: Called, by another thread, when the holder is asked to do with its least; says whether it does.
    """

    check: Callable[[], None] = lambda: None
    on_short: Callable[[], object] = lambda: None
    on_asked: Callable[[], bool] = lambda: False


_NOTHING = Calls()


@contextmanager
def holding(
    parts: Parts,
    need: Need,
    *,
    holder: str,
    lease_s: float,
    wait_s: float | None = None,
    calls: Calls = _NOTHING,
    found: Sequence[Found] | None = None,
) -> Iterator[Share]:
    """Hold a part of a device of this host while the block runs; wait for it where it is not to be had at once.

    For another training it is waited without end; for memory for a while, in which slots make room.

    Args:
        parts: The adapters.
        need: What for.
        holder: The claim's name; a claim that this name has already is replaced.
        lease_s: The claim outlives this process by so long, unless it is known to be dead.
        wait_s: How long to wait for memory; default the setting `device_wait_s`.
        calls: What is called meanwhile.
        found: This host's devices; default those that are found.

    Raises:
        NoRoomError: If no device has enough memory; the message names what is needed and what is free.
    """
    who = Claimant(holder, host(), os.getpid(), born(os.getpid()), lease_s)
    patience_s = parts.settings.device_wait_s if wait_s is None else wait_s
    got = _wait(parts, who, need, found or devices(), calls, patience_s)
    mark = parts.settings.home / "run" / f"{got.kind}-{got.number}"
    busy.make(mark)
    ended = Event()
    keeper = Thread(target=_keep, args=(parts, who, calls.on_asked, ended), name="device-claim", daemon=True)
    keeper.start()
    try:
        yield _share(need, got, mark)
    finally:
        ended.set()
        keeper.join()
        with suppress(SQLAlchemyError), parts.catalog.write() as session:  # else it is freed when we are dead
            claims.release(session, holder)


@contextmanager
def computing(
    parts: Parts,
    request: HostRequest,
    need: Need,
    *,
    holder: str,
    work: Path,
    bundle: Path,
    readable: Sequence[Path] = (),
    check: Callable[[], None] = lambda: None,
) -> Iterator[BundleHost]:
    """Start a bundle host on a request, with a part of a device while the block runs; raises as `holding`."""
    lease_s, found = parts.settings.attempt_lease_s, _asked_for(request)
    with holding(parts, need, holder=holder, lease_s=lease_s, calls=Calls(check), found=found) as share:
        shared = request.model_copy(update={"device": share.device})
        files = [*readable, share.busy]
        with parts.hosts.start(shared, work=work, bundle=bundle, readable=files, threads=share.threads) as started:
            yield started


def free_dead(parts: Parts) -> int:
    """Free claims whose process is known to be dead, or was silent for too long on another host; return how many."""
    with parts.catalog.read() as session:
        dead = _dead(claims.over(session, host()))
    with parts.catalog.write() as session:
        return claims.free_over(session, host(), dead)


def _wait(
    parts: Parts,
    who: Claimant,
    need: Need,
    known: Sequence[Found],
    calls: Calls,
    wait_s: float,
) -> Got:
    waited_s = 0.0
    while True:
        calls.check()
        with parts.catalog.read() as session:
            dead = _dead(claims.over(session, who.host))
        with parts.catalog.write() as session:
            found = claims.claim(session, who, need, known, dead)
        if isinstance(found, Got):
            return found
        if not found.training:
            if waited_s >= wait_s:
                raise NoRoomError(_too_little(need, found))
            # Counted and not read from a clock: a machine that sleeps has not waited.
            waited_s += RETRY_S
            calls.on_short()
        time.sleep(RETRY_S)


def _too_little(need: Need, short: Short) -> str:
    return (
        f"The {need.kind} work needs {short.needed:.0f} MiB of a device's memory, {short.free:.0f} MiB are free:"
        " switch off realtime inference of an experiment, or lower the batch or patch size"
    )


def _asked_for(request: HostRequest) -> Sequence[Found] | None:
    """Return the devices that a request names; None = those of this host."""
    return (processor(),) if isinstance(request, TrainRequest) and request.spec.num_gpu == 0 else None


def _dead(over: Sequence[DeviceClaim]) -> list[str]:
    return [claim.id for claim in over if born(claim.pid) != claim.born]


def _keep(parts: Parts, who: Claimant, on_asked: Callable[[], bool], ended: Event) -> None:
    """Renew the claim until the end; while the catalog cannot be reached it stays ours, for this process lives."""
    while not ended.wait(who.lease_s / 4):
        with suppress(SQLAlchemyError):
            with parts.catalog.write() as session:
                asked = claims.renew(session, who.holder)
            if asked is None:
                log.warning("the claim of %s was given to others", who.holder)
            if asked and on_asked():
                with parts.catalog.write() as session:
                    claims.shrunk(session, who.holder)


def _share(need: Need, got: Got, mark: Path) -> Share:
    patient = need.kind != "live"
    device = DeviceShare(
        number=got.number if got.kind == "gpu" else None,
        memory_mib=got.amount if got.kind == "gpu" else None,
        busy=str(mark) if patient else None,
        nice=NICE if patient else 0,
    )
    return Share(device, int(got.amount) if got.kind == "cpu" and patient else None, mark)

"""Realtime slots: which are wanted, and which serve."""

import time
from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from configs.errors import InvalidRequestError
from configs.states import SlotState
from infra.adapters.catalog import slots
from infra.adapters.catalog.outbox import OutboxKind, enqueue
from infra.adapters.catalog.tables import Experiment, Slot
from infra.adapters.catalog.tables.base import now
from infra.wiring import Parts
from tasks.serving.on_demand import IDLE_S, idle, spare, spare_on, touch

POLL_S = 0.25
UNUSED = "nobody used it for ten minutes"
ROOM = "it made room for another realtime server"


def want(session: Session, experiment: Experiment, quota: int, *, replica: int = 0, until_idle: bool = False) -> Slot:
    """Want a slot of the experiment, and have its flow started; a slot that is wanted already is returned.

    Where the quota is used up, the slot goes off that goes off by itself anyway and was used longest ago.

    Args:
        session: Of the unit that decides it.
        experiment: Whose published model is to be served.
        quota: How many slots its organisation may have; 0 = any number.
        replica: Which of the experiment's slots, from 0.
        until_idle: Wanted for a use, and off again when nobody uses it for ten minutes; else until told otherwise.

    Raises:
        InvalidRequestError: If the experiment belongs to no organisation, or the quota is used up.
    """
    if experiment.org is None:
        raise InvalidRequestError("A base experiment serves nobody: make an experiment from it")
    taken = slots.taken(session, experiment.org)
    known = {slot.replica: slot for slot in slots.of_experiment(session, experiment.id, for_change=True)}
    slot = known.get(replica)
    if slot is not None and slot.desired:
        _keep_wanted(session, slot, until_idle=until_idle)
        return slot
    counted = 1 if slot is not None and slot.state != SlotState.STOPPED else 0
    if quota > 0 and taken - counted >= quota and not _make_room(session, experiment):
        raise InvalidRequestError(
            f"One more realtime slot will exceed the maximum number of GPUs allowed ({quota}):"
            " switch off realtime inference of another experiment, or ask the operator to raise the quota"
        )
    if slot is None:
        slot = Slot(org=experiment.org, experiment_id=experiment.id, replica=replica, epoch=0)
        session.add(slot)
    else:
        _want_again(session, slot)
    session.flush()
    slot.desired_until = session.scalar(select(now() + IDLE_S)) if until_idle else None
    enqueue(session, OutboxKind.START_FLOW, slot.id, {"slot": True, "epoch": slot.epoch})
    return slot


def switch_off(session: Session, slot: Slot, reason: str) -> None:
    """Want the slot no longer: a process that holds it drains and stops, else it is stopped at once."""
    if not slot.desired:
        return
    slot.desired = False
    slot.error = reason
    if not slots.is_held(session, slot.id):
        slot.state = SlotState.STOPPED
        slot.holder = None
        slot.lease_until = None
    session.flush()


def wait_ready(parts: Parts, slot_id: str, timeout_s: float) -> Slot:
    """Wait until the slot answers.

    Raises:
        InvalidRequestError: If it does not within *timeout_s*, cannot start, or is switched off meanwhile; the
            message carries the slot's own error.
        NotFoundError: If there is no such slot.
    """
    until = time.monotonic() + timeout_s
    while True:
        with parts.catalog.read() as session:
            slot = slots.get(session, slot_id)
        if slot.desired and slot.state in slots.SERVING:
            return slot
        if not slot.desired or (slot.state == SlotState.LOST and slot.error):
            raise InvalidRequestError(f"The realtime server did not start: {slot.error or 'it was switched off'}")
        if time.monotonic() >= until:
            detail = slot.error or f"it is {slot.state}; is a worker of the realtime pool running?"
            raise InvalidRequestError(f"The realtime server was not ready within {timeout_s:.0f} s: {detail}")
        time.sleep(POLL_S)


def wait_stopped(parts: Parts, slot_id: str, timeout_s: float = 30.0) -> bool:
    """Wait until a slot that was switched off has stopped; False if it drains still after *timeout_s*."""
    until = time.monotonic() + timeout_s
    while True:
        with parts.catalog.read() as session:
            if slots.get(session, slot_id).state == SlotState.STOPPED:
                return True
        if time.monotonic() >= until:
            return False
        time.sleep(POLL_S)


def ready_slots(session: Session, experiment_id: str) -> Sequence[Slot]:
    """Return the experiment's slots that answer now, by replica."""
    return slots.serving(session, experiment_id)


def is_wanted(session: Session, experiment_id: str) -> bool:
    """Say whether realtime inference of the experiment is switched on."""
    return any(slot.desired for slot in slots.of_experiment(session, experiment_id))


def switch_off_idle(session: Session) -> int:
    """Want no longer what was started on first use and is not used any more; return how many."""
    found = idle(session)
    for slot in found:
        switch_off(session, slot, UNUSED)
    return len(found)


def make_room_on(session: Session, host: str, slot_id: str) -> bool:
    """Have a slot leave this host's devices that goes off by itself anyway; says whether there is one."""
    found = spare_on(session, host, but=slot_id)
    if found is not None:
        switch_off(session, found, ROOM)
    return found is not None


def _make_room(session: Session, experiment: Experiment) -> bool:
    found = spare(session, experiment.org or "")
    if found is not None:
        switch_off(session, found, ROOM)
    return found is not None


def _keep_wanted(session: Session, slot: Slot, *, until_idle: bool) -> None:
    if until_idle:
        touch(session, slot.id)
    else:
        slot.desired_until = None


def _want_again(session: Session, slot: Slot) -> None:
    """Want a slot that was switched off. Its next flow run needs a key of its own, which the epoch makes.

    While a process still drains, its epoch stays, so that it can finish and let go.
    """
    slot.desired = True
    slot.error = ""
    slot.failed_seq = None
    if not slots.is_held(session, slot.id):
        # A process that holds the old epoch writes nothing more, however late it wakes.
        slot.epoch += 1
        slot.state = SlotState.WANTED
        slot.holder = None
        slot.lease_until = None

"""Slots that are started on first use: they go off when nobody uses them, and make room for others.

Such a slot carries `desired_until`; each use moves it on. One that an experiment was made with carries none, and stays.
"""

from sqlalchemy import Select, String, cast, exists, func, literal, select, update
from sqlalchemy.orm import Session

from infra.adapters.catalog.locks import lock
from infra.adapters.catalog.tables import DeviceClaim, Slot
from infra.adapters.catalog.tables.base import now
from infra.wiring import Parts

# An annotator who thinks must not find the model gone; a device that nobody asks is free soon.
IDLE_S = 600.0
# Every request would be a write otherwise.
TOUCHED_EVERY_S = 30.0
HOLDER = "slot:"
"""What a slot's claim of a device is called, before the slot's id."""


def used(parts: Parts, slot: Slot) -> None:
    """Keep a slot that goes off by itself for another while; at most one write in half a minute."""
    if slot.desired_until is None:
        return
    due = Slot.desired_until < now() + IDLE_S - TOUCHED_EVERY_S
    with parts.catalog.read() as session:
        if session.scalar(select(Slot.id).where(Slot.id == slot.id, due)) is None:
            return
    with parts.catalog.write() as session:
        touch(session, slot.id)


def touch(session: Session, slot_id: str) -> None:
    """Let a slot that goes off by itself be wanted for as long from now; one that stays is left alone."""
    going = Slot.desired_until.is_not(None)
    session.execute(update(Slot).where(Slot.id == slot_id, going).values(desired_until=now() + IDLE_S))


def idle(session: Session) -> list[Slot]:
    """Return slots that nobody used for long enough, their rows held."""
    return list(session.scalars(lock(session, _going().where(Slot.desired_until < now()))))


def spare(session: Session, org: str) -> Slot | None:
    """Return the organisation's slot that goes off by itself and was used longest ago, its row held."""
    return session.scalar(lock(session, _going().where(Slot.org == org).order_by(Slot.desired_until).limit(1)))


def spare_on(session: Session, host: str, *, but: str) -> Slot | None:
    """Return the same of a host's devices, for another slot than *but*; None too while one of them still drains."""
    holds = exists().where(DeviceClaim.host == host, DeviceClaim.holder == literal(HOLDER) + cast(Slot.id, String))
    draining = select(func.count()).where(Slot.desired.is_(False), Slot.holder.is_not(None), holds)
    if session.scalar(draining):
        return None
    query = _going().where(holds, Slot.id != but).order_by(Slot.desired_until).limit(1)
    return session.scalar(lock(session, query))


def _going() -> Select[tuple[Slot]]:
    return select(Slot).where(Slot.desired, Slot.desired_until.is_not(None))

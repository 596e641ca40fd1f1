"""Who gets how much of a device: each claim is one unit that holds the device's row.

A slot serves live requests, a training trains, a batch evaluates or scores. On a graphics processor they share the
memory: the sum of claims stays within it. On a processor they share time: a training or batch gets the cores that slots
leave, at least one, and nobody is refused. One training has a device at a time.
"""

import math
from collections.abc import Collection, Sequence
from typing import Literal, NamedTuple

from sqlalchemy import delete, or_, select, update
from sqlalchemy.orm import Session

from infra.adapters.catalog.locks import lock
from infra.adapters.catalog.tables import Device, DeviceClaim
from infra.adapters.catalog.tables.base import now
from infra.adapters.catalog.upsert import insert
from tasks.devices.here import DeviceKind, Found

ClaimKind = Literal["live", "train", "batch"]
SLOTS_SHARE = 4  # a slot's part of the cores, as a divisor


class Need(NamedTuple):
    """What a process computes, and the MiB of a graphics processor that it takes; `least`: what it can do with."""

    kind: ClaimKind
    amount: float = 0.0
    least: float = 0.0


class Claimant(NamedTuple):
    """A process, the name under which it claims, and for how many seconds."""

    holder: str
    host: str
    pid: int
    born: str
    lease_s: float


class Got(NamedTuple):
    """A part of a device: MiB of a graphics processor, or cores."""

    kind: DeviceKind
    number: int
    amount: float


class Short(NamedTuple):
    """Why there is nothing to have: MiB needed and free, or another training on every device."""

    needed: float
    free: float
    training: bool


def claim(
    session: Session, who: Claimant, need: Need, found: Sequence[Found], dead: Collection[str] = ()
) -> Got | Short:
    """Take a part of a device of this host; what is too little for a training, slots are asked to make room for.

    Args:
        session: A unit.
        who: A claim of the same holder is replaced.
        need: What for.
        found: This host's devices.
        dead: Claims, by id, whose lease ran out and whose process is known to be gone.
    """
    register(session, who.host, found)
    # All of the host's devices, in one order: which one is the freest must stay true until the claim is written.
    known = lock(session, select(Device).where(Device.host == who.host).order_by(Device.kind, Device.index))
    session.scalars(known).all()
    mine = DeviceClaim.host == who.host
    gone = (DeviceClaim.id.in_(dead), DeviceClaim.lease_until < now())
    session.execute(delete(DeviceClaim).where(mine, *gone))
    # A process that was started again under its name has lost what it had before.
    session.execute(delete(DeviceClaim).where(DeviceClaim.holder == who.holder))
    claims = session.scalars(select(DeviceClaim).where(mine)).all()
    beside = {device: [each for each in claims if _on(each, device)] for device in found}
    open_ = [device for device in found if need.kind != "train" or not any(c.kind == "train" for c in beside[device])]
    if not open_:
        return Short(need.amount, 0.0, training=True)
    device = max(open_, key=lambda each: _free(each, beside[each]))
    free = _free(device, beside[device])
    amount = _cores(device, need, beside[device]) if device.kind == "cpu" else need.amount
    if device.kind == "gpu" and amount > free:
        _ask_to_shrink(need.amount - free, beside[device])
        return Short(need.amount, free, training=False)
    session.add(_row(session, who, need, device, amount))
    session.flush()
    return Got(device.kind, device.number, amount)


def renew(session: Session, holder: str) -> bool | None:
    """Prolong a claim by its lease; says whether it is asked to shrink, None if there is no such claim any more."""
    renewing = update(DeviceClaim).where(DeviceClaim.holder == holder)
    renewing = renewing.values(lease_until=now() + DeviceClaim.lease_s)
    return session.scalar(renewing.returning(DeviceClaim.asked))


def shrunk(session: Session, holder: str) -> None:
    """Note that a holder does with its least from now on."""
    fewer = {"amount": DeviceClaim.least, "asked": False}
    session.execute(update(DeviceClaim).where(DeviceClaim.holder == holder).values(**fewer))


def release(session: Session, holder: str) -> None:
    """Give a claim back; again, nothing happens."""
    session.execute(delete(DeviceClaim).where(DeviceClaim.holder == holder))


def over(session: Session, host: str) -> Sequence[DeviceClaim]:
    """Return the host's claims whose lease ran out; they stay claimed while their processes live."""
    return session.scalars(select(DeviceClaim).where(DeviceClaim.host == host, DeviceClaim.lease_until < now())).all()


def free_over(session: Session, host: str, dead: Collection[str]) -> int:
    """Free claims of dead processes of this host, and other hosts' that were over for as long again as they lasted."""
    silent = DeviceClaim.lease_until + DeviceClaim.lease_s < now()
    elsewhere = (DeviceClaim.host != host) & silent
    gone = DeviceClaim.id.in_(dead) & (DeviceClaim.lease_until < now())
    return len(session.scalars(delete(DeviceClaim).where(or_(elsewhere, gone)).returning(DeviceClaim.id)).all())


def register(session: Session, host: str, found: Sequence[Found]) -> None:
    """Note which devices a host has."""
    for device in found:
        row = insert(session, Device).values(host=host, kind=device.kind, index=device.number, total=device.total)
        key = [Device.host, Device.kind, Device.index]
        changed = {"total": device.total, "seen_at": now()}
        session.execute(row.on_conflict_do_update(index_elements=key, set_=changed))


def _row(session: Session, who: Claimant, need: Need, device: Found, amount: float) -> DeviceClaim:
    return DeviceClaim(
        host=who.host,
        device_kind=device.kind,
        device_index=device.number,
        holder=who.holder,
        kind=need.kind,
        amount=amount,
        least=min(need.least or amount, amount),
        lease_s=who.lease_s,
        lease_until=session.scalar(select(now() + who.lease_s)),
        pid=who.pid,
        born=who.born,
    )


def _on(claim: DeviceClaim, device: Found) -> bool:
    return (claim.device_kind, claim.device_index) == (device.kind, device.number)


def _free(device: Found, claims: Sequence[DeviceClaim]) -> float:
    return device.total - sum(claim.amount for claim in claims)


def _cores(device: Found, need: Need, claims: Sequence[DeviceClaim]) -> float:
    if need.kind == "live":
        return float(max(1, math.floor(device.total / SLOTS_SHARE)))
    return max(1.0, device.total - sum(claim.amount for claim in claims if claim.kind == "live"))


def _ask_to_shrink(missing: float, claims: Sequence[DeviceClaim]) -> None:
    """Ask slots for what they can spare, if together that is enough."""
    able = [claim for claim in claims if claim.kind == "live" and claim.amount > claim.least]
    if sum(claim.amount - claim.least for claim in able) < missing:
        return
    for claim in sorted(able, key=lambda each: each.least - each.amount):
        claim.asked = True
        missing -= claim.amount - claim.least
        if missing <= 0:
            return

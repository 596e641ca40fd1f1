"""Questions about realtime slots, and the steps by which a slot process holds one.

Every step of a holder is a compare-and-set on (id, holder, epoch); leases run by the catalog's clock.
"""

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import and_, case, func, or_, select, true, update
from sqlalchemy.orm import Session
from sqlalchemy.sql.elements import ColumnElement

from configs.errors import NotFoundError
from configs.states import SlotState
from infra.adapters.catalog.locks import lock
from infra.adapters.catalog.tables import Experiment, ModelVersion, Organisation, Slot
from infra.adapters.catalog.tables.base import now

_ENDING = case((Slot.desired, SlotState.LOST.value), else_=SlotState.STOPPED.value)
_NOBODY: dict[str, object] = {"holder": None, "lease_until": None, "endpoint": "", "token": None}

SERVING = (SlotState.READY, SlotState.SWAPPING)


class Hold(NamedTuple):
    """Who holds a slot: the process's own id, and the epoch that its claim began."""

    slot_id: str
    holder: str
    epoch: int


class SlotClaimant(NamedTuple):
    """A process that wants to hold a slot."""

    holder: str
    host: str
    pid: int
    token: str


class Sitter(NamedTuple):
    """The process that watches over a slot: machine, number, and when it began."""

    host: str
    pid: int | None
    born: str


class Beat(NamedTuple):
    """What a renewed lease tells: whether the slot is still wanted, and what is published."""

    desired: bool
    published_seq: int


class Look(NamedTuple):
    """A slot as its babysitter sees it: wanted, and held by a process with a living lease."""

    desired: bool
    held: bool


class Published(NamedTuple):
    """What an experiment serves: the version, its bundle, its weights (None = the bundle's own), its labels."""

    seq: int
    version_id: str
    bundle_id: str
    weights: str | None
    labels: dict[int, str]


def get(session: Session, slot_id: str) -> Slot:
    """Return the slot.

    Raises:
        NotFoundError: If there is none.
    """
    found = session.scalar(select(Slot).where(Slot.id == slot_id))
    if found is None:
        raise NotFoundError("realtime slot", slot_id)
    return found


def of_experiment(session: Session, experiment_id: str, *, for_change: bool = False) -> Sequence[Slot]:
    """Return the experiment's slots by replica; `for_change` locks their rows."""
    query = select(Slot).where(Slot.experiment_id == experiment_id).order_by(Slot.replica)
    return session.scalars(lock(session, query) if for_change else query).all()


def serving(session: Session, experiment_id: str) -> Sequence[Slot]:
    """Return the experiment's slots that answer now: ready or swapping, wanted, their lease alive."""
    query = select(Slot).where(
        Slot.experiment_id == experiment_id, Slot.state.in_(SERVING), Slot.desired, Slot.lease_until > now()
    )
    return session.scalars(query.order_by(Slot.replica)).all()


def taken(session: Session, org: str) -> int:
    """Return how many slots count against the organisation's quota; its row is locked until the unit ends."""
    # Held until the unit ends: two requests must not both take the last slot of the quota.
    session.execute(lock(session, select(Organisation.id).where(Organisation.id == org)))
    query = select(func.count()).where(Slot.org == org, or_(Slot.desired, Slot.state != SlotState.STOPPED))
    return session.scalar(query) or 0


def is_held(session: Session, slot_id: str) -> bool:
    """Say whether a process holds the slot with a living lease."""
    query = select(Slot.id).where(Slot.id == slot_id, Slot.holder.is_not(None), Slot.lease_until >= now())
    return session.scalar(query) is not None


def look(session: Session, slot_id: str) -> Look | None:
    """Return how the slot is; None if there is no such slot any more."""
    held = and_(Slot.holder.is_not(None), Slot.lease_until >= now())
    row = session.execute(select(Slot.desired, held).where(Slot.id == slot_id)).one_or_none()
    return None if row is None else Look(desired=row[0], held=bool(row[1]))


def watched_by(session: Session, slot_id: str, flow_run_id: str, sitter: Sitter | None = None) -> None:
    """Note which flow run watches over the slot, and in which process; None while it has none yet.

    A run that has noted its process itself keeps it.
    """
    host, pid, born = sitter or Sitter("", None, "")
    mine = and_(Slot.id == slot_id, true() if sitter else Slot.flow_run_id.is_distinct_from(flow_run_id))
    noted = {"flow_run_id": flow_run_id, "sitter_host": host, "sitter_pid": pid, "sitter_born": born}
    session.execute(update(Slot).where(mine).values(**noted))


def died(session: Session, slot_id: str, host: str, pid: int) -> None:
    """Free the slot of a process that is known to be dead, without waiting for its lease to run out."""
    dead = and_(Slot.id == slot_id, Slot.host == host, Slot.pid == pid, Slot.holder.is_not(None))
    session.execute(update(Slot).where(dead).values(state=_ENDING, **_NOBODY))


def settle(session: Session, slot_id: str) -> None:
    """Call a slot stopped that is no longer wanted and that nobody holds."""
    free = or_(Slot.holder.is_(None), Slot.lease_until < now())
    done = and_(Slot.id == slot_id, Slot.desired.is_(False), free, Slot.state != SlotState.STOPPED)
    session.execute(update(Slot).where(done).values(state=SlotState.STOPPED, **_NOBODY))


def claim(session: Session, slot_id: str, claimant: SlotClaimant, lease_s: float) -> Hold | None:
    """Take a wanted slot that nobody holds; None if it is not wanted or somebody serves it."""
    free = or_(Slot.holder.is_(None), Slot.lease_until < now())
    taking = (
        update(Slot)
        .where(Slot.id == slot_id, Slot.desired, free)
        .values(
            holder=claimant.holder,
            # Fences off whoever held it before, should it wake: all that it writes names its own epoch.
            epoch=Slot.epoch + 1,
            state=SlotState.STARTING,
            lease_until=now() + lease_s,
            token=claimant.token,
            host=claimant.host,
            pid=claimant.pid,
            endpoint="",
            serving_seq=None,
            error="",
        )
        .returning(Slot.epoch)
    )
    epoch = session.scalar(taking)
    return None if epoch is None else Hold(slot_id, claimant.holder, epoch)


def renew(session: Session, hold: Hold, lease_s: float) -> Beat | None:
    """Prolong the lease; None if the slot is somebody else's by now."""
    renewing = update(Slot).where(_held(hold)).values(lease_until=now() + lease_s)
    row = session.execute(renewing.returning(Slot.desired, Slot.experiment_id)).one_or_none()
    if row is None:
        return None
    desired, experiment_id = row
    seq = session.scalar(select(Experiment.published_seq).where(Experiment.id == experiment_id))
    return Beat(desired=desired, published_seq=seq or 0)


def become_ready(session: Session, hold: Hold, *, endpoint: str, seq: int) -> bool:
    """Say where the slot answers, and with which publication; False if it is somebody else's by now."""
    return _change(session, hold, state=SlotState.READY, endpoint=endpoint, serving_seq=seq, error="")


def become(session: Session, hold: Hold, state: SlotState) -> bool:
    """Say that the slot swaps or drains; False if it is somebody else's by now."""
    return _change(session, hold, state=state)


def swapped(session: Session, hold: Hold, seq: int) -> bool:
    """Say that the slot serves this publication now; False if it is somebody else's by now."""
    return _change(session, hold, state=SlotState.READY, serving_seq=seq, error="")


def swap_failed(session: Session, hold: Hold, reason: str, *, failed_seq: int | None) -> bool:
    """Say why the old version goes on; `failed_seq` once it will not be tried again."""
    return _change(session, hold, state=SlotState.READY, error=reason, failed_seq=failed_seq)


def release(session: Session, hold: Hold, *, error: str | None, failed_seq: int | None) -> bool:
    """Let go of the slot: stopped if it is no longer wanted, else lost, so that the next process takes it at once."""
    values: dict[str, object] = {} if error is None else {"error": error, "failed_seq": failed_seq}
    return _change(session, hold, state=_ENDING, **_NOBODY, **values)


def published(session: Session, slot_id: str) -> Published | None:
    """Return what the slot's experiment has published; None if there is no usable model yet."""
    query = (
        select(Experiment.published_seq, ModelVersion, Experiment.labels)
        .join(ModelVersion, ModelVersion.id == Experiment.published_version)
        .join(Slot, Slot.experiment_id == Experiment.id)
        .where(Slot.id == slot_id)
    )
    row = session.execute(query).one_or_none()
    if row is None:
        return None
    seq, version, labels = row
    names = {int(index): str(name) for index, name in labels.items()}
    return Published(seq, version.id, version.bundle_id, version.weights, names)


def _held(hold: Hold) -> ColumnElement[bool]:
    return and_(Slot.id == hold.slot_id, Slot.holder == hold.holder, Slot.epoch == hold.epoch)


def _change(session: Session, hold: Hold, **values: object) -> bool:
    changed = session.scalar(update(Slot).where(_held(hold)).values(**values).returning(Slot.id))
    return changed is not None

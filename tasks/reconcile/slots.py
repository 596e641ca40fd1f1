"""Realtime slots that are wanted and not held, held and not watched, or no longer wanted."""

from sqlalchemy import ColumnElement, and_, exists, func, or_, select, update
from sqlalchemy.orm import Session

from configs.errors import TeachbackError
from configs.states import SlotState
from infra.adapters.catalog import audit, outbox, slots
from infra.adapters.catalog.outbox import OutboxKind
from infra.adapters.catalog.tables import Experiment, Outbox, Publication, Slot
from infra.adapters.catalog.tables.base import now
from infra.adapters.orchestration.base import FlowRun, RunState
from infra.wiring import Parts
from tasks.publishing.publish import publish_by_person
from tasks.reconcile import orphans
from tasks.serving.slots import switch_off, switch_off_idle

CANCELLED = "cancelled in Prefect"
RESTART_S = 10.0  # between two starts of a slot's flow
SILENT_S = 90.0  # its babysitter backs off for at most a minute: after this, a run that should hold it is dead
SYSTEM = "system"


def slots_lost(parts: Parts) -> int:
    """Call slots lost whose process was not heard of in time: others may take them."""
    over = and_(Slot.holder.is_not(None), Slot.lease_until < now(), Slot.desired)
    lost = update(Slot).where(over).values(state=SlotState.LOST, holder=None, endpoint="", token=None)
    with parts.catalog.write() as session:
        return len(session.scalars(lost.returning(Slot.id)).all())


def slots_unwatched(parts: Parts) -> int:
    """Start a flow for wanted slots whose own has ended, or is gone; a slot that serves meanwhile is adopted by it."""
    waits = exists().where(Outbox.kind == OutboxKind.START_FLOW, Outbox.ref == Slot.id, Outbox.done_at.is_(None))
    silent = (now() - func.coalesce(Slot.lease_until, Slot.modified_at)).label("silent")
    with parts.catalog.read() as session:
        wanted = session.execute(select(Slot, silent, _held()).where(Slot.desired, ~waits)).all()
    if not wanted:
        return 0
    runs = parts.orchestrator.runs([slot.flow_run_id for slot, _, _ in wanted if slot.flow_run_id])
    return sum(_watch(parts, slot, runs.get(slot.flow_run_id or ""), silent_s, held) for slot, silent_s, held in wanted)


def slots_off(parts: Parts) -> int:
    """Call slots stopped that are not wanted and that nobody holds."""
    free = or_(Slot.holder.is_(None), Slot.lease_until < now())
    query = select(Slot.id).where(Slot.desired.is_(False), Slot.state != SlotState.STOPPED, free)
    with parts.catalog.read() as session:
        found = session.scalars(query).all()
    for slot_id in found:
        with parts.catalog.write() as session:
            slots.settle(session, slot_id)
    return len(found)


def slots_idle(parts: Parts) -> int:
    """Switch off slots that were started on first use and that nobody uses any more."""
    with parts.catalog.write() as session:
        return switch_off_idle(session)


def publications_failed(parts: Parts) -> int:
    """Roll back what no replica can serve, to what was published before it."""
    failed = Slot.failed_seq == Experiment.published_seq
    wanted = exists().where(Slot.experiment_id == Experiment.id, Slot.desired)
    fine = exists().where(Slot.experiment_id == Experiment.id, Slot.desired, or_(~failed, Slot.failed_seq.is_(None)))
    query = (
        select(Publication)
        .join(Experiment, and_(Experiment.id == Publication.experiment_id, Experiment.published_seq == Publication.seq))
        .where(wanted, ~fine, Publication.previous_id.is_not(None))
    )
    with parts.catalog.read() as session:
        found = session.scalars(query).all()
    return sum(_roll_back(parts, publication) for publication in found)


def _watch(parts: Parts, slot: Slot, run: FlowRun | None, silent_s: float, held: bool) -> bool:
    over = run is None or run.state.terminal
    if run is not None and over and run.since_s < RESTART_S:
        return False
    if run is not None and run.state == RunState.CANCELLED:
        return _off(parts, slot)
    if run is not None and not over:
        # Killed with its worker, a run goes on in Prefect's eyes: nobody would start its slot when that dies.
        dead = orphans.is_dead(orphans.Process(slot.sitter_host, slot.sitter_pid, slot.sitter_born))
        silent = not held and min(silent_s, run.since_s) >= SILENT_S and run.state != RunState.SCHEDULED
        if not (dead or silent):
            return False
        parts.orchestrator.end(run.id, "Its process is gone." if dead else "Its slot was not heard of in time.")
        if run.state == RunState.CANCELLING:
            return _off(parts, slot)
    with parts.catalog.write() as session:
        current = slots.get(session, slot.id)
        if not current.desired or current.flow_run_id != slot.flow_run_id or _asked(session, slot.id):
            return False
        outbox.enqueue(session, OutboxKind.START_FLOW, slot.id, {"slot": True, "epoch": current.epoch})
    return True


def _off(parts: Parts, slot: Slot) -> bool:
    """Switch a slot off whose run a person cancelled, when the flow's own hook did not."""
    with parts.catalog.write() as session:
        current = slots.get(session, slot.id)
        if not current.desired or current.flow_run_id != slot.flow_run_id or _asked(session, slot.id):
            return False
        switch_off(session, current, CANCELLED)
        audit.record(session, current.org, "prefect", "slot.switch_off", current.id, reason=CANCELLED)
    return True


def _roll_back(parts: Parts, publication: Publication) -> bool:
    reason = f"No slot could serve publication {publication.seq}."

    def rolled_back(session: Session) -> None:
        """Publish the version before, unless another one was published meanwhile."""
        publish_by_person(
            session,
            publication.experiment_id,
            publication.previous_id or "",
            expected=publication.version_id,
            actor=SYSTEM,
            reason=reason,
        )

    try:
        parts.catalog.unit(rolled_back)
    except TeachbackError:
        return False  # another version was published meanwhile
    return True


def _asked(session: Session, slot_id: str) -> bool:
    return outbox.undelivered(session, OutboxKind.START_FLOW, slot_id)


def _held() -> ColumnElement[bool]:
    return and_(Slot.holder.is_not(None), Slot.lease_until >= now())

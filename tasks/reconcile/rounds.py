"""Loops that are due and did not open their round, counts that drifted, and metrics on their way."""

import logging
from functools import partial

from sqlalchemy import Select, exists, func, select
from sqlalchemy.orm import Session

from configs.states import TERMINAL, AttemptState, JobStatus
from infra.adapters.catalog import jobs, loops, outbox
from infra.adapters.catalog.outbox import OutboxKind
from infra.adapters.catalog.tables import Attempt, Job, PendingImage
from infra.wiring import Parts
from tasks.delivery.tracking import behind
from tasks.rounds.count import open_round_if_due

log = logging.getLogger(__name__)

# It reads all pending labels, and should never find anything.
RECOUNT_EVERY_S = 3600.0
METRICS_EVERY_S = 15.0


def rounds_due(parts: Parts) -> int:
    """Open rounds that are due: a safety net, for the unit that counts opens them; expected to find none."""
    child = Job.__table__.alias("child")
    busy = exists().where(child.c.parent_id == Job.id, child.c.status.not_in(TERMINAL))
    due = _running_loops().where(Job.pending >= Job.round_size, ~busy)
    opened = 0
    with parts.catalog.read() as session:
        found = session.scalars(due).all()
    for loop_id in found:
        opened += parts.catalog.unit(partial(_open, loop_id=loop_id))
    if opened:
        log.error("%d rounds were due and had not been opened: report this", opened)
    return opened


def _open(session: Session, loop_id: str) -> bool:
    return open_round_if_due(session, jobs.locked(session, loop_id)) is not None


def recount(parts: Parts) -> int:
    """Once an hour, compare each loop's count with the images that it counts, and repair it."""
    with parts.catalog.write() as session:
        if not loops.is_time(session, "recount", RECOUNT_EVERY_S):
            return 0
    counted = select(func.count()).where(PendingImage.job_id == Job.id).scalar_subquery()
    with parts.catalog.read() as session:
        wrong = session.scalars(select(Job.id).where(Job.action == "annotation", Job.pending != counted)).all()
    for loop_id in wrong:
        with parts.catalog.write() as session:
            loop = jobs.locked(session, loop_id)
            rows = session.scalar(select(func.count()).where(PendingImage.job_id == loop_id)) or 0
            log.error("job %s counted %d pending images and has %d: repaired, report this", loop_id, loop.pending, rows)
            loop.pending = rows
    return len(wrong)


def metrics_behind(parts: Parts) -> int:
    """Have MLflow told what running rounds said since it was last told."""
    if not parts.settings.tracking_url:
        return 0
    with parts.catalog.write() as session:
        if not loops.is_time(session, "metrics", METRICS_EVERY_S):
            return 0
    claimed = exists().where(
        Attempt.job_id == Job.id, Attempt.n == Job.current_attempt, Attempt.state == AttemptState.CLAIMED
    )
    with parts.catalog.read() as session:
        running = session.scalars(select(Job).where(Job.status == JobStatus.RUNNING, claimed)).all()
    told = [job.id for job in running if behind(parts, job)]
    for job_id in told:
        with parts.catalog.write() as session:
            if not outbox.undelivered(session, OutboxKind.TRACKING, job_id):
                outbox.enqueue(session, OutboxKind.TRACKING, job_id)
    return len(told)


def _running_loops() -> Select[tuple[str]]:
    return select(Job.id).where(Job.action == "annotation", Job.status == JobStatus.RUNNING)

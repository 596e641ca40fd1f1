"""Jobs that waited for another one, which has ended by now: they start, or fail with it."""

from functools import partial

from sqlalchemy import and_, exists, or_, select
from sqlalchemy.orm import Session, aliased

from configs.errors import InvalidRequestError, NotFoundError
from configs.states import TERMINAL, AttemptState, JobStatus
from infra.adapters.catalog import jobs, outbox
from infra.adapters.catalog.outbox import OutboxKind
from infra.adapters.catalog.tables import Attempt, Job, Outbox
from infra.wiring import Parts
from tasks.batch.start import ACTION, fix_version
from tasks.rounds.jobs.attempts import fail
from tasks.rounds.jobs.turns import others_turn

_WAITING = (JobStatus.PENDING, JobStatus.RESUMING)


def let_go(parts: Parts) -> int:
    """Start the jobs whose predecessor is Done, and end those in Error whose predecessor came to another end."""
    before = aliased(Job)
    asked = exists().where(Outbox.kind == OutboxKind.START_FLOW, Outbox.ref == Job.id, Outbox.done_at.is_(None))
    idle = and_(Attempt.state == AttemptState.QUEUED, Attempt.flow_run_id.is_(None), ~asked)
    query = (
        select(Job.id)
        .join(before, before.id == Job.after_id)
        .join(Attempt, and_(Attempt.job_id == Job.id, Attempt.n == Job.current_attempt))
        .where(Job.status.in_(_WAITING), idle, before.status.in_(TERMINAL))
        .where(or_(before.status != JobStatus.DONE, ~others_turn()))
    )
    with parts.catalog.read() as session:
        found = session.scalars(query).all()
    for job_id in found:
        parts.catalog.unit(partial(_let_go, job_id=job_id))
    return len(found)


def _let_go(session: Session, job_id: str) -> None:
    job = jobs.locked(session, job_id)
    if job.status not in _WAITING:
        return
    before = session.get_one(Job, job.after_id)
    if before.status != JobStatus.DONE:
        fail(session, job.id, job.current_attempt, f"Job {before.id}, which it comes after, is {before.status}")
        return
    try:
        if job.action == ACTION:
            fix_version(session, job)
    except (InvalidRequestError, NotFoundError) as error:
        fail(session, job.id, job.current_attempt, str(error))
        return
    job.message = ""
    outbox.enqueue(session, OutboxKind.START_FLOW, job.id, {"attempt": job.current_attempt})

"""Jobs that waited for another one, which has ended by now: they start, or fail with it."""

from functools import partial

from sqlalchemy import Select, and_, exists, or_, select
from sqlalchemy.orm import Session, aliased

from configs.states import TERMINAL, AttemptState, JobStatus
from infra.adapters.catalog import jobs, outbox
from infra.adapters.catalog.outbox import OutboxKind
from infra.adapters.catalog.tables import Attempt, Job, Outbox
from infra.wiring import Parts
from tasks.rounds.jobs.attempts import fail
from tasks.rounds.jobs.turns import others_turn

_WAITING = (JobStatus.PENDING, JobStatus.RESUMING)


def let_go(parts: Parts) -> int:
    """Start the jobs whose predecessor is Done, and end those in Error whose predecessor came to another end."""
    with parts.catalog.read() as session:
        found = session.scalars(_followers()).all()
    return sum(parts.catalog.unit(partial(let_one_go, job_id=job_id)) for job_id in found)


def let_one_go(session: Session, job_id: str) -> bool:
    """Do that for one job, and say so, if nobody has done anything about it since it was found."""
    job = jobs.locked(session, job_id)
    if session.scalar(_followers().where(Job.id == job_id)) is None:
        return False
    before = session.get_one(Job, job.after_id)
    if before.status != JobStatus.DONE:
        fail(session, job.id, job.current_attempt, f"Job {before.id}, which it comes after, is {before.status}")
        return True
    job.message = ""
    outbox.enqueue(session, OutboxKind.START_FLOW, job.id, {"attempt": job.current_attempt})
    return True


def _followers() -> Select[tuple[str]]:
    """Return the jobs that nobody was asked to start and whose predecessor has ended."""
    before = aliased(Job)
    asked = exists().where(Outbox.kind == OutboxKind.START_FLOW, Outbox.ref == Job.id, Outbox.done_at.is_(None))
    idle = and_(Attempt.state == AttemptState.QUEUED, Attempt.flow_run_id.is_(None), ~asked)
    return (
        select(Job.id)
        .join(before, before.id == Job.after_id)
        .join(Attempt, and_(Attempt.job_id == Job.id, Attempt.n == Job.current_attempt))
        .where(Job.status.in_(_WAITING), idle, before.status.in_(TERMINAL))
        .where(or_(before.status != JobStatus.DONE, ~others_turn()))
    )

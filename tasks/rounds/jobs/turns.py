"""One training of an experiment at a time: the others wait for their turn, the one that has waited longest first.

A training has its turn from its first claim until it ends or is paused; a unique index holds that for all code.
"""

from sqlalchemy import ColumnElement, and_, exists, select
from sqlalchemy.orm import Session, aliased

from configs.states import TRAINING, AttemptState, JobStatus
from infra.adapters.catalog import outbox
from infra.adapters.catalog.locks import lock
from infra.adapters.catalog.tables import Attempt, Experiment, Job
from tasks.rounds.jobs.after import waits_for_another

WAITED = "another training of the experiment had its turn"
_WAITING = (JobStatus.PENDING, JobStatus.RESUMING)


def others_turn() -> ColumnElement[bool]:
    """Return the condition that a job trains and its experiment is being trained by another job."""
    other = aliased(Job)
    return exists().where(
        Job.action == "train",
        other.experiment_id == Job.experiment_id,
        other.id != Job.id,
        other.action == "train",
        other.status.in_(TRAINING),
    )


def has_turn(session: Session, job: Job) -> bool:
    """Say whether a job may train now; if so, no other of its experiment gets its turn before this unit ends."""
    # Two jobs that look at once would both find the turn free, and the unique index would then fail one of them.
    session.execute(lock(session, select(Experiment.id).where(Experiment.id == job.experiment_id)))
    return not session.scalar(select(others_turn()).where(Job.id == job.id).select_from(Job))


def wait(session: Session, job: Job, attempt: Attempt) -> None:
    """Let a job whose attempt came out of turn wait: its next attempt is started when the turn is free."""
    attempt.state, attempt.error = AttemptState.ENDED, WAITED
    job.current_attempt = attempt.n + 1
    session.add(Attempt(job_id=job.id, n=job.current_attempt))


def pass_on(session: Session, experiment_id: str) -> None:
    """Start the training of the experiment that has waited longest, if the turn is free and one waits."""
    current = and_(Attempt.job_id == Job.id, Attempt.n == Job.current_attempt)
    query = (
        select(Attempt)
        .join(Job, current)
        .where(
            Job.experiment_id == experiment_id,
            Job.action == "train",
            Job.status.in_(_WAITING),
            Attempt.state == AttemptState.QUEUED,
            # One with a flow run was asked to start already, and claims its turn by itself.
            Attempt.flow_run_id.is_(None),
            ~others_turn(),
            ~waits_for_another(),
        )
        .order_by(Job.created_at, Job.id)
        .limit(1)
    )
    waiting = session.scalar(query)
    if waiting is not None:
        outbox.enqueue(session, outbox.OutboxKind.START_FLOW, waiting.job_id, {"attempt": waiting.n})


def round_waits(session: Session) -> bool:
    """Say whether any experiment's round waits: scoring holds the place in the work pool that it needs.

    What comes after another job needs no place yet, and may wait for days.
    """
    waiting = exists().where(Job.action == "train", Job.status == JobStatus.PENDING, ~waits_for_another())
    return bool(session.scalar(select(waiting)))

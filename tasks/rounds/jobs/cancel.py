"""Cancelling a job: asked for here, done by its flow on the way out or by the reconciler."""

from sqlalchemy.orm import Session

from configs.states import TERMINAL, AttemptState, JobStatus
from infra.adapters.catalog import jobs, outbox
from infra.adapters.catalog.tables import Job
from tasks.rounds.count import open_round_if_due
from tasks.rounds.jobs import turns


def cancel(session: Session, job_id: str, actor: str) -> None:
    """Cancel a job; a finished one is left as it is. Cancelling a loop cancels its open round.

    Args:
        session: A unit.
        job_id: The job.
        actor: Who asks, for the message.
    """
    job = jobs.locked_with_loop(session, job_id)
    if job.status in TERMINAL or job.status == JobStatus.CANCELING:
        return
    child = jobs.open_child(session, job.id)
    if child is not None:
        _cancel_one(session, jobs.locked(session, child.id), actor)
    _cancel_one(session, job, actor)
    if job.parent_id is not None and job.status == JobStatus.CANCELED:
        # It had not begun, so its labels still wait.
        open_round_if_due(session, jobs.locked(session, job.parent_id))


def _cancel_one(session: Session, job: Job, actor: str) -> None:
    job.message = f"cancelled by {actor}"
    current = jobs.attempt(session, job.id, job.current_attempt)
    if job.action == "annotation" or current is None or current.state != AttemptState.CLAIMED:
        # No process of ours works on it, so nobody has to be waited for.
        job.status = JobStatus.CANCELED
        turns.pass_on(session, job.experiment_id)
        if job.tracking_run is not None or jobs.last_round_no(session, job.id):
            outbox.enqueue(session, outbox.OutboxKind.TRACKING, job.id)
    else:
        job.status = JobStatus.CANCELING
    if current is None:
        return
    if current.state == AttemptState.QUEUED:
        current.state = AttemptState.ENDED
    outbox.enqueue(session, outbox.OutboxKind.CANCEL_FLOW, job.id, {"attempt": current.n})

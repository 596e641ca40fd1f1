"""Pausing and taking up jobs: a loop stops opening rounds, a training keeps a checkpoint and leaves its device."""

from typing import Any

from sqlalchemy.orm import Session

from configs.errors import InvalidRequestError
from configs.specs.round import RoundSpec
from configs.states import TERMINAL, AttemptState, JobStatus
from infra.adapters.catalog import jobs, outbox
from infra.adapters.catalog.tables import Attempt, Experiment, Job
from tasks.rounds.count import open_round_if_due, say_if_out
from tasks.rounds.jobs import turns
from tasks.rounds.jobs.attempts import PAUSED
from tasks.rounds.jobs.start import check_spec, count_again

_ASKED = (JobStatus.PAUSING, JobStatus.PAUSED)


def pause(session: Session, job_id: str) -> Job:
    """Pause a job; one that has ended or is paused already is left as it is.

    A loop lets its running round end and starts none; labels go on counting. A training that runs ends after its
    next step, with a checkpoint; until then it is Pausing.

    Raises:
        InvalidRequestError: If the job is being cancelled.
    """
    job = jobs.locked_with_loop(session, job_id)
    if job.status in TERMINAL or job.status in _ASKED:
        return job
    if job.status == JobStatus.CANCELING:
        raise InvalidRequestError("The job is being cancelled; it cannot be paused")
    current = jobs.attempt(session, job.id, job.current_attempt)
    if current is not None and current.state == AttemptState.CLAIMED:
        job.status = JobStatus.PAUSING
        return job
    # No process of ours works on it, so nobody has to be waited for.
    job.status = JobStatus.PAUSED
    if current is not None and current.state == AttemptState.QUEUED:
        current.state, current.error = AttemptState.ENDED, PAUSED
        outbox.enqueue(session, outbox.OutboxKind.CANCEL_FLOW, job.id, {"attempt": current.n})
        turns.pass_on(session, job.experiment_id)
    return job


def resume(session: Session, job_id: str, *, round_now: bool = False, spec: dict[str, Any] | None = None) -> str:
    """Go on with a paused job, and return what came of it as a sentence.

    Args:
        session: A unit.
        job_id: The job.
        round_now: Open a round of a loop with whatever labels wait; the loop may also be running.
        spec: What a training is to do instead (a RoundSpec as JSON), while nothing was gathered for it.

    Raises:
        InvalidRequestError: If it is not paused; if a training is asked for a round; if it has begun and is given
            another spec.
    """
    job = jobs.locked_with_loop(session, job_id)
    if job.action == "annotation":
        return _resume_loop(session, job, round_now=round_now)
    if round_now:
        raise InvalidRequestError("round_now asks an annotation job for a round; this is a train job")
    if job.status != JobStatus.PAUSED:
        raise InvalidRequestError(f"The job is {job.status}; only one that is Paused can be asked to resume")
    if spec is not None and spec != job.spec:
        if job.to_seq is not None:
            raise InvalidRequestError("The training has begun and keeps its specs: cancel it and start another")
        check_spec(session, session.get_one(Experiment, job.experiment_id), RoundSpec.model_validate(spec).train)
        job.spec = spec
    job.status = JobStatus.RESUMING
    # A new attempt: what still runs of the one before finds itself fenced off.
    job.current_attempt += 1
    session.add(Attempt(job_id=job.id, n=job.current_attempt))
    outbox.enqueue(session, outbox.OutboxKind.START_FLOW, job.id, {"attempt": job.current_attempt})
    return f"Job {job.id} is {job.status}"


def _resume_loop(session: Session, loop: Job, *, round_now: bool) -> str:
    may = {JobStatus.PAUSED, JobStatus.RUNNING} if round_now else {JobStatus.PAUSED}
    if loop.status not in may:
        wanted = " or ".join(sorted(may))
        raise InvalidRequestError(f"The job is {loop.status}; only one that is {wanted} can be asked to resume")
    loop.status = JobStatus.RUNNING
    if round_now:
        count_again(session, loop)
    opened = open_round_if_due(session, loop, at_least=1 if round_now else None)
    say_if_out(session, loop)
    said = f"Job {loop.id} is {loop.status}"
    if opened is not None:
        return f"{said}; round {opened.round_no} starts"
    return f"{said}; {_why_none(session, loop)}" if round_now else said


def _why_none(session: Session, loop: Job) -> str:
    """Say why a round that was asked for does not start."""
    child = jobs.open_child(session, loop.id)
    if child is not None:
        return f"no round starts: round {child.round_no} is {child.status}, and {loop.pending} labels wait for the next"
    if not loop.pending:
        return "no round starts: no label waits"
    return f"no round starts: {loop.rounds_done} rounds are done, as many as were asked for"

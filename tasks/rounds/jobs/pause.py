"""Pausing and taking up jobs: a loop stops opening rounds, a training keeps a checkpoint and leaves its device."""

from collections.abc import Sequence

from sqlalchemy.orm import Session

from configs.errors import InvalidRequestError
from configs.specs.round import RoundSpec, SpecChange
from configs.specs.train import TrainSpec
from configs.states import TERMINAL, AttemptState, JobStatus
from infra.adapters.catalog import jobs, outbox
from infra.adapters.catalog.tables import Attempt, Experiment, Job
from tasks.rounds.count import open_round_if_due, say_if_out
from tasks.rounds.jobs import turns
from tasks.rounds.jobs.attempts import PAUSED
from tasks.rounds.jobs.start import check_spec, count_again
from tasks.rounds.steps.train import STEP as FINE_TUNE

_ASKED = (JobStatus.PAUSING, JobStatus.PAUSED)
# The weights it starts from, the order of its cases, its network and how it is made: a checkpoint is of all of them.
_FROM_THE_START = ("start_from", "seed", "config_file", "overrides")
_ABSENT = object()


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


def resume(session: Session, job_id: str, *, round_now: bool = False, change: SpecChange | None = None) -> str:
    """Go on with a paused job, and return what came of it as a sentence.

    Args:
        session: A unit.
        job_id: The job.
        round_now: Open a round of a loop with whatever labels wait; the loop may also be running.
        change: What a training is to do otherwise from its last checkpoint on.

    Raises:
        InvalidRequestError: If it is not paused; if a training is asked for a round; if something is to change that
            is settled by now, or that only a training has.
    """
    job = jobs.locked_with_loop(session, job_id)
    if change is not None and job.action != "train":
        raise InvalidRequestError(
            f"New specs are for a train job, and this is one of {job.action}, which keeps its own: leave specs out, or"
            " cancel it and start another"
        )
    if job.action == "annotation":
        return _resume_loop(session, job, round_now=round_now)
    if round_now:
        raise InvalidRequestError(f"round_now asks an annotation job for a round; this is a {job.action} job")
    if job.status != JobStatus.PAUSED:
        raise InvalidRequestError(f"The job is {job.status}; only one that is Paused can be asked to resume")
    if change is not None:
        job.spec = _changed(session, job, change).model_dump(mode="json")
    job.status = JobStatus.RESUMING
    # A new attempt: what still runs of the one before finds itself fenced off.
    job.current_attempt += 1
    session.add(Attempt(job_id=job.id, n=job.current_attempt))
    outbox.enqueue(session, outbox.OutboxKind.START_FLOW, job.id, {"attempt": job.current_attempt})
    return f"Job {job.id} is {job.status}"


def _changed(session: Session, job: Job, change: SpecChange) -> RoundSpec:
    """Return a training's spec with the change, if nothing of it is settled by now."""
    known = RoundSpec.model_validate(job.spec)
    wanted = change.over(known)
    settled, why = _settled(session, job, known)
    before, after = known.train, wanted.train
    late = [name for name in settled if getattr(before, name) != getattr(after, name)]
    if "overrides" in late:
        late.remove("overrides")
        late += [key for key, value in after.overrides.items() if before.overrides.get(key, _ABSENT) != value]
    if late:
        raise InvalidRequestError(f"{why} and keeps {', '.join(late)}: leave that out, or cancel it and start another")
    check_spec(session, session.get_one(Experiment, job.experiment_id), after)
    return wanted


def _settled(session: Session, job: Job, spec: RoundSpec) -> tuple[Sequence[str], str]:
    """Return what of a training can no longer change, and why."""
    every = tuple(TrainSpec.model_fields)
    if spec.rerun_of is not None:
        return every, "The training does another one again"
    if spec.uploaded is not None:
        return every, "The job judges weights that were uploaded, and trains nothing"
    if jobs.step_output(session, job.id, FINE_TUNE) is not None:
        return every, "The training has made its model"
    if job.to_seq is not None:
        return _FROM_THE_START, "The training has begun"
    return (), ""


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

"""Numbered, fenced attempts: whoever holds the current, claimed attempt may write; nobody else.

queued ─claim─▶ claimed ─▶ ended          the flow finished, failed or was cancelled
                   └─────▶ lost           its lease ran out, or it gave up for a passing reason; the next is queued
"""

from collections.abc import Callable

from sqlalchemy import and_, or_, select, update
from sqlalchemy.engine import CursorResult
from sqlalchemy.orm import Session

from configs.errors import SupersededError
from configs.states import TERMINAL, AttemptState, JobStatus
from infra.adapters.catalog import jobs, outbox
from infra.adapters.catalog.tables import Attempt, Job
from infra.adapters.catalog.tables.base import now
from tasks.devices.claims import Claimant
from tasks.rounds.count import open_round_if_due
from tasks.rounds.jobs import turns
from tasks.rounds.steps import tracked

Leaving = Callable[..., None]
# A machine that restarts takes one with it, seldom two; three mean that it is not by chance.
WITHOUT_PROGRESS = 3
STOPPED = "its worker was stopped"
PAUSED = "it was paused"
_NO_FAILURE = (STOPPED, PAUSED, turns.WAITED)
# At once after a kill; later where the cause may need time to pass.
BACK_OFF_S = (0.0, 10.0, 60.0)
_CLAIMABLE = (JobStatus.PENDING, JobStatus.RUNNING, JobStatus.RESUMING)
_END_OF: dict[str, JobStatus] = {JobStatus.CANCELING: JobStatus.CANCELED, JobStatus.PAUSING: JobStatus.PAUSED}
_HELD = (JobStatus.RUNNING, JobStatus.PAUSING)


def claim(
    session: Session,
    job_id: str,
    n: int,
    who: Claimant,
    *,
    flow_run_id: str | None = None,
) -> bool:
    """Take attempt *n* of a job, if it is the current one and nobody has; say whether it worked.

    While another training of the experiment has its turn, the job waits for its own with the next attempt. The claim
    notes its flow run itself: whoever started the run may have died before noting it.
    """
    job = jobs.locked(session, job_id)
    if job.current_attempt != n or job.status not in _CLAIMABLE:
        return False
    attempt = jobs.attempt(session, job_id, n)
    # Asked in the unit that claims: between two units another training could begin.
    if attempt is not None and attempt.state == AttemptState.QUEUED and not turns.has_turn(session, job):
        turns.wait(session, job, attempt)
        return False
    taken = session.execute(
        update(Attempt)
        .where(Attempt.job_id == job_id, Attempt.n == n, Attempt.state == AttemptState.QUEUED)
        .values(
            state=AttemptState.CLAIMED,
            holder=who.holder,
            lease_until=now() + who.lease_s,
            claimed_at=now(),
            host=who.host,
            pid=who.pid,
            born=who.born,
            flow_run_id=flow_run_id or Attempt.flow_run_id,
        )
    )
    if not _one(taken):
        return False
    job.status = JobStatus.RUNNING
    tracked.begin(session, job)
    return True


def renew(session: Session, job_id: str, n: int, *, holder: str, lease_s: float) -> JobStatus | None:
    """Hold attempt *n* for longer; None means that it was lost or its job is being cancelled.

    Returns:
        Running, or Pausing: then it shall end soon and keep what it has.
    """
    renewed = session.execute(
        update(Attempt)
        .where(
            Attempt.job_id == job_id,
            Attempt.n == n,
            Attempt.state == AttemptState.CLAIMED,
            Attempt.holder == holder,
            select(Job.id).where(Job.id == job_id, Job.current_attempt == n, Job.status.in_(_HELD)).exists(),
        )
        .values(lease_until=now() + lease_s)
    )
    return JobStatus(session.scalars(select(Job.status).where(Job.id == job_id)).one()) if _one(renewed) else None


def fence(session: Session, job_id: str, n: int, *, pausing: bool = False) -> Job:
    """Return the job, its row held; the rest of the unit may write for attempt *n*.

    Args:
        session: A unit.
        job_id: The job.
        n: The attempt.
        pausing: Also while the job is Pausing: a checkpoint may be noted then, nothing else.

    Raises:
        SupersededError: If attempt *n* is not the current, claimed one, or the job no longer runs.
    """
    job = jobs.locked_with_loop(session, job_id)
    current = jobs.attempt(session, job_id, n)
    held = current is not None and current.state == AttemptState.CLAIMED and job.current_attempt == n
    if not held or job.status not in (_HELD if pausing else (JobStatus.RUNNING,)):
        raise SupersededError(f"Attempt {n} of job {job_id} is no longer the one that may write ({job.status}).")
    return job


def progressed(session: Session, job_id: str, n: int) -> None:
    """Note that attempt *n* got further than it began: a checkpoint, or a finished step."""
    session.execute(
        update(Attempt).where(Attempt.job_id == job_id, Attempt.n == n).values(progress=Attempt.progress + 1)
    )


def lose(session: Session, job_id: str, n: int, reason: str) -> None:
    """Give attempt *n* up for a passing reason: the next is queued, or the job ends in Error when none got further."""
    job = jobs.locked_with_loop(session, job_id)
    lost = jobs.attempt(session, job_id, n)
    if job.status in TERMINAL or lost is None or job.current_attempt != n or lost.state == AttemptState.ENDED:
        return
    lost.state = AttemptState.LOST
    if lost.error != STOPPED:
        lost.error = reason
    if job.status in _END_OF:
        _end(session, job, lost, _END_OF[job.status], job.message)
        return
    # Counted from the last attempt that got further: a long training may be interrupted any number of times.
    idle = _without_progress(session, job_id, n)
    if idle >= WITHOUT_PROGRESS:
        _end(session, job, lost, JobStatus.ERROR, f"{idle} attempts ended without getting further; the last: {reason}")
        return
    job.current_attempt = n + 1
    session.add(Attempt(job_id=job_id, n=n + 1))
    outbox.enqueue(session, outbox.OutboxKind.START_FLOW, job_id, {"attempt": n + 1}, due_in_s=BACK_OFF_S[idle])


def fail(session: Session, job_id: str, n: int, reason: str) -> None:
    """End attempt *n* for a reason that another try would meet again, up to the spec's `max_retries`."""
    job = jobs.locked_with_loop(session, job_id)
    failed = jobs.attempt(session, job_id, n)
    if job.status in TERMINAL or failed is None or job.current_attempt != n:
        return
    failed.error = reason
    if job.status in _END_OF:
        _end(session, job, failed, _END_OF[job.status], job.message)
        return
    job.failures += 1
    if job.parent_id is not None and job.failures <= int(job.spec.get("max_retries", 1)):
        failed.state = AttemptState.ENDED
        job.current_attempt = n + 1
        session.add(Attempt(job_id=job_id, n=n + 1))
        outbox.enqueue(session, outbox.OutboxKind.START_FLOW, job_id, {"attempt": n + 1}, due_in_s=BACK_OFF_S[1])
        return
    _end(session, job, failed, JobStatus.ERROR, reason)


def stop(session: Session, job_id: str, n: int) -> None:
    """Note that attempt *n* was asked to end from outside; its job ends if it is being cancelled, or is then paused.

    Whether a person cancelled the run or its worker was stopped, the reconciler finds out; a stop is no failure, so
    such an attempt is not counted among those that got no further.
    """
    end_asked(session, job_id, n)
    claimed = and_(Attempt.job_id == job_id, Attempt.n == n, Attempt.state == AttemptState.CLAIMED)
    session.execute(update(Attempt).where(claimed).values(error=STOPPED))


def end_asked(session: Session, job_id: str, n: int) -> None:
    """Close a job that was asked to cancel or to pause, when its attempt *n* has ended."""
    job = jobs.locked_with_loop(session, job_id)
    current = jobs.attempt(session, job_id, n)
    if job.status not in _END_OF or current is None or job.current_attempt != n:
        return
    _end(session, job, current, _END_OF[job.status], job.message)


def _end(session: Session, job: Job, attempt: Attempt, status: JobStatus, message: str) -> None:
    if attempt.state != AttemptState.LOST:
        attempt.state = AttemptState.ENDED
    job.status, job.message = status, message
    if status == JobStatus.PAUSED:
        attempt.error = attempt.error or PAUSED
    # In the same unit: whoever waits for the turn would else wait for the reconciler.
    turns.pass_on(session, job.experiment_id)
    if job.parent_id is None or status == JobStatus.PAUSED:
        return
    loop = jobs.locked(session, job.parent_id)
    if status == JobStatus.ERROR and loop.status not in TERMINAL:
        loop.status, loop.message = JobStatus.ERROR, f"Round {job.round_no} failed: {message}"
    elif status == JobStatus.CANCELED:
        # Its labels were taken when it gathered; a later round trains on them all the same.
        open_round_if_due(session, loop)
    outbox.enqueue(session, outbox.OutboxKind.TRACKING, job.id)


def _without_progress(session: Session, job_id: str, n: int) -> int:
    """Count the attempts up to *n* since the last that got further; a stopped or paused one counts only if it did."""
    counted = and_(
        Attempt.job_id == job_id, Attempt.n <= n, or_(Attempt.error.not_in(_NO_FAILURE), Attempt.progress > 0)
    )
    progress = session.scalars(select(Attempt.progress).where(counted).order_by(Attempt.n.desc())).all()
    for idle, steps in enumerate(progress):
        if steps:
            return idle
    return len(progress)


def _one(result: object) -> bool:
    return isinstance(result, CursorResult) and result.rowcount == 1

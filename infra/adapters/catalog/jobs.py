"""Questions about jobs, rounds and attempts."""

from collections.abc import Sequence

from sqlalchemy import bindparam, func, select
from sqlalchemy.orm import Session

from configs.errors import NotFoundError
from configs.states import TERMINAL, JobStatus
from infra.adapters.catalog.locks import lock
from infra.adapters.catalog.tables import Attempt, Job, StepMark

_COUNTING = (
    select(Job)
    .where(
        Job.dataset_id == bindparam("dataset"),
        Job.action == "annotation",
        Job.status.in_((JobStatus.RUNNING, JobStatus.PAUSED, JobStatus.PAUSING)),
    )
    .order_by(Job.id)
)


def get(session: Session, job_id: str) -> Job:
    """Return one job.

    Raises:
        NotFoundError: If there is none, or it was deleted.
    """
    job = session.get(Job, job_id)
    if job is None or job.deleted_at is not None:
        raise NotFoundError("job", job_id)
    return job


def locked(session: Session, job_id: str) -> Job:
    """Return one job, its row held until the unit ends.

    Raises:
        NotFoundError: If there is none.
    """
    job = session.scalar(lock(session, select(Job).where(Job.id == job_id)))
    if job is None:
        raise NotFoundError("job", job_id)
    return job


def locked_with_loop(session: Session, job_id: str) -> Job:
    """Return one job as `locked` does; if it is a round, its loop's row is held too, and was taken first.

    Everybody takes a loop before its rounds: two units never wait for each other.
    """
    parent = session.scalar(select(Job.parent_id).where(Job.id == job_id))
    # The parent never changes, so it may be read before anything is held.
    if parent is not None:
        locked(session, parent)
    return locked(session, job_id)


def attempt(session: Session, job_id: str, n: int) -> Attempt | None:
    """Return one attempt of a job."""
    return session.get(Attempt, (job_id, n))


def of_run(session: Session, flow_run_id: str) -> str | None:
    """Return the id of the open job that a flow run was started for; None if it is the first time that it asks."""
    mine = select(Attempt.job_id).where(Attempt.flow_run_id == flow_run_id)
    return session.scalar(select(Job.id).where(Job.id.in_(mine), Job.status.not_in(TERMINAL)))


def open_child(session: Session, job_id: str) -> Job | None:
    """Return the round of this loop that has not ended, if there is one."""
    return session.scalar(select(Job).where(Job.parent_id == job_id, Job.status.not_in(TERMINAL)))


def children(session: Session, job_id: str) -> Sequence[Job]:
    """Return the rounds of a loop, first to last."""
    return session.scalars(select(Job).where(Job.parent_id == job_id).order_by(Job.round_no)).all()


def last_round_no(session: Session, job_id: str) -> int:
    """Return the number of the loop's last round; 0 if it had none."""
    return session.scalar(select(func.max(Job.round_no)).where(Job.parent_id == job_id)) or 0


def trained_to(session: Session, experiment_id: str) -> int:
    """Return the label number up to which some finished round of the experiment has trained; 0 if none has."""
    query = select(func.max(Job.to_seq)).where(Job.experiment_id == experiment_id, Job.status == JobStatus.DONE)
    return session.scalar(query) or 0


def loops_on(session: Session, dataset_id: str) -> Sequence[Job]:
    """Return the loops that count this data set's labels, in the order in which units lock them."""
    return session.scalars(lock(session, _COUNTING), {"dataset": dataset_id}).all()


def step_output(session: Session, job_id: str, step: str) -> str | None:
    """Return the hash of a finished step's output; None while the step has not finished."""
    mark = session.get(StepMark, (job_id, step))
    return mark.output if mark else None

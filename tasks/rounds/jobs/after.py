"""Jobs that come after another one: they wait until that is Done, and fail where it does not come to that."""

from sqlalchemy import ColumnElement, exists
from sqlalchemy.orm import Session, aliased

from configs.states import JobStatus
from infra.adapters.catalog.tables import Job


def waits_for_another() -> ColumnElement[bool]:
    """Return the condition that a job comes after one that is not Done."""
    before = aliased(Job)
    return exists().where(before.id == Job.after_id, before.status != JobStatus.DONE)


def comes_after(session: Session, job: Job, before_id: str | None) -> bool:
    """Have a new job wait for another one, and say so; False where there is nothing to wait for."""
    job.after_id = before_id
    before = session.get_one(Job, before_id) if before_id is not None else None
    if before is None or before.status == JobStatus.DONE:
        return False
    job.message = f"Waits until job {before.id} is Done"
    return True

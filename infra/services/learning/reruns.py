"""A round again, from the snapshot that it wrote."""

from sqlalchemy.orm import Session

from configs.errors import ConflictError, NotFoundError
from infra.adapters.catalog import audit
from infra.adapters.catalog import jobs as job_catalog
from infra.adapters.catalog.tables import Job
from infra.services.callers import Caller, Right, allow
from infra.wiring import Parts
from tasks.reconcile.loop import wake
from tasks.rounds.records.rerun import Difference, difference, start_rerun
from tasks.rounds.steps.work import read_snapshot


def rerun(parts: Parts, caller: Caller, job_id: str) -> str:
    """Train a round or a training again, and return the id of the job that does.

    Raises:
        ForbiddenError: If the caller may not.
        NotFoundError: If the organisation has no such job.
        ConflictError: If it never gathered its labels, or its experiment has changed since.
    """
    allow(caller, Right.RUN_JOBS)
    sha256 = _training(parts, caller, job_id).snapshot
    if sha256 is None:
        raise ConflictError(f"Job {job_id} has no snapshot: it never got as far as gathering labels")
    snapshot = read_snapshot(parts, sha256)

    def started(session: Session) -> str:
        """Make the rerun's row, on the record."""
        made = start_rerun(session, job_catalog.get(session, job_id), snapshot, actor=caller.subject)
        audit.record(session, caller.org, caller.subject, "job.rerun", made.id, of=job_id)
        return made.id

    rerun_id = parts.catalog.unit(started)
    wake()
    return rerun_id


def compare(parts: Parts, caller: Caller, job_id: str) -> Difference:
    """Return how a rerun differs from what it repeats, as far as it has come.

    Raises:
        NotFoundError: If the organisation has no such job.
        ConflictError: If it is no rerun.
    """
    allow(caller, Right.READ)
    _training(parts, caller, job_id)
    with parts.catalog.read() as session:
        return difference(session, job_catalog.get(session, job_id))


def _training(parts: Parts, caller: Caller, job_id: str) -> Job:
    with parts.catalog.read() as session:
        job = job_catalog.get(session, job_id)
    if job.org != caller.org or job.action != "train":
        raise NotFoundError("round", job_id)
    return job

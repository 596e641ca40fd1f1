"""A job's model version: one, whichever attempt makes it."""

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from infra.adapters.catalog.locks import lock
from infra.adapters.catalog.tables import Experiment, Job, ModelVersion


def version_of(session: Session, job: Job, made: ModelVersion) -> ModelVersion:
    """Return the version that a job has, else add *made* as the newest of its experiment; call it inside a unit.

    Args:
        session: A unit that holds the job's row.
        job: A training.
        made: Weights and where they come from; the rest is filled in.
    """
    # An attempt that died between this unit and its step's mark has sealed the version already.
    known = session.scalar(select(ModelVersion).where(ModelVersion.job_id == job.id))
    if known is not None:
        return known
    # Held: one is uploaded while another is trained, and each takes the next number.
    experiment = session.execute(
        lock(session, select(Experiment).where(Experiment.id == job.experiment_id))
    ).scalar_one()
    newest = select(func.max(ModelVersion.number)).where(ModelVersion.experiment_id == experiment.id)
    made.experiment_id, made.number = experiment.id, (session.scalar(newest) or 0) + 1
    made.bundle_id, made.job_id, made.created_by = experiment.bundle_id, job.id, job.created_by
    session.add(made)
    session.flush()
    return made

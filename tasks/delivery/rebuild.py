"""All that MLflow was ever told, asked for again: for one that was wiped, or that came later than the first rounds."""

from sqlalchemy import or_, select, update
from sqlalchemy.orm import Session

from configs.states import JobStatus
from infra.adapters.catalog import outbox
from infra.adapters.catalog.tables import Experiment, Job


def tell_all_again(session: Session, org: str) -> int:
    """Have every training and loop of an organisation told to MLflow from its first event on; return how many.

    Oldest first, so that an empty registry numbers the versions as before.
    """
    shown = or_(Job.tracking_run.is_not(None), (Job.action == "train") & (Job.status != JobStatus.PENDING))
    query = (
        select(Job.id)
        .join(Experiment, Experiment.id == Job.experiment_id)
        .where(Job.org == org, Job.deleted_at.is_(None), Experiment.deleted_at.is_(None), shown)
        .order_by(Job.created_at, Job.id)
    )
    ids = session.scalars(query).all()
    for job_id in ids:
        session.execute(update(Job).where(Job.id == job_id).values(events_sent=0, modified_at=Job.modified_at))
        outbox.enqueue(session, outbox.OutboxKind.TRACKING, job_id)
    return len(ids)

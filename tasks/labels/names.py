"""Which label names a data set's labels are read with when they come in."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from configs.states import JobStatus
from infra.adapters.catalog.tables import Experiment, ExperimentDataset, Job


def names_on(session: Session, dataset_id: str) -> dict[int, str]:
    """Return index → name of the experiment that learns from this data set; empty if none does.

    The newest with a running loop comes first, then the newest that trains on it.
    """
    loop = (
        select(Experiment.labels)
        .join(Job, Job.experiment_id == Experiment.id)
        .where(Job.dataset_id == dataset_id, Job.action == "annotation", Job.status == JobStatus.RUNNING)
        .order_by(Job.created_at.desc())
    )
    trains = (
        select(Experiment.labels)
        .join(ExperimentDataset, ExperimentDataset.experiment_id == Experiment.id)
        .where(
            ExperimentDataset.dataset_id == dataset_id,
            ExperimentDataset.use == "train",
            Experiment.deleted_at.is_(None),
        )
        .order_by(Experiment.created_at.desc())
    )
    found = session.scalar(loop.limit(1)) or session.scalar(trains.limit(1)) or {}
    return {int(index): name for index, name in found.items()}

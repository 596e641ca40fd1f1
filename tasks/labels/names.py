"""Which label names a data set's labels are read with when they come in."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from configs.states import JobStatus
from infra.adapters.catalog.tables import Experiment, ExperimentDataset, Job, ModelVersion


def names_on(session: Session, dataset_id: str, base_version: str | None = None) -> dict[int, str]:
    """Return index → name of the experiment that learns from this data set; empty if none does.

    The experiment of the corrected model version comes first, then the newest with a running loop, then the newest
    that trains on it.
    """
    found = _labels_here(session, dataset_id, base_version)
    return {int(index): name for index, name in found[0].items()} if found else {}


def unsure_on(session: Session, dataset_id: str, base_version: str | None = None) -> dict[int, list[str]]:
    """Return index → names, where the experiments that learn from this data set call one index by several names.

    A mask without names that marks such a value would be learnt as something else than its author meant.
    """
    told: dict[int, set[str]] = {}
    for labels in _labels_here(session, dataset_id, base_version):
        for index, name in labels.items():
            told.setdefault(int(index), set()).add(name)
    return {index: sorted(names) for index, names in told.items() if len(names) > 1 and index != 0}


def _labels_here(session: Session, dataset_id: str, base_version: str | None) -> Sequence[dict[str, Any]]:
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
    loops = (
        select(Experiment.labels)
        .join(Job, Job.experiment_id == Experiment.id)
        .where(Job.dataset_id == dataset_id, Job.action == "annotation", Job.status == JobStatus.RUNNING)
        .order_by(Job.created_at.desc())
    )
    if base_version:
        corrected = trains.join(ModelVersion, ModelVersion.experiment_id == Experiment.id)
        if found := session.scalars(corrected.where(ModelVersion.id == base_version)).all():
            return found
    return session.scalars(loops).all() or session.scalars(trains).all()

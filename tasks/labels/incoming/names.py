"""Which label names a data set's labels are read with when they come in."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from configs.names import plain
from configs.states import JobStatus
from infra.adapters.catalog.tables import Experiment, ExperimentDataset, Job, ModelVersion


@dataclass(frozen=True)
class Names:
    """What values of a mask, or classes, mean here.

    Attributes:
        known: Index → name of the experiment that learns from the data set; empty if none does.
        unsure: Index → names, where several experiments learn from it and call one index by several names. A mask
            without names that marks such a value would be learnt as something else than its author meant.
        elsewhere: What other experiments that learn from the data set call their labels, as names are compared.
    """

    known: dict[int, str] = field(default_factory=dict)
    unsure: dict[int, list[str]] = field(default_factory=dict)
    elsewhere: frozenset[str] = frozenset()


def names_on(session: Session, dataset_id: str, base_version: str | None = None, kind: str = "mask") -> Names:
    """Return the names that a data set's labels of a kind are read with.

    The experiment of the corrected model version comes first, then the newest with a running loop, then the newest
    that trains on it.
    """
    trains = session.scalars(_trains(dataset_id, kind)).all()
    found = _labels_here(session, dataset_id, base_version, kind) or trains
    if not found:
        return Names()
    told: dict[int, set[str]] = {}
    for labels in found:
        for index, name in labels.items():
            told.setdefault(int(index), set()).add(name)
    return Names(
        known={int(index): name for index, name in found[0].items()},
        unsure={index: sorted(names) for index, names in told.items() if len(names) > 1},
        elsewhere=frozenset(plain(name) for labels in [*trains, *found[1:]] for name in labels.values()),
    )


def _trains(dataset_id: str, kind: str) -> Select[tuple[dict[str, Any]]]:
    """Return the labels of the experiments that train on a data set's labels of a kind, the newest first."""
    return (
        select(Experiment.labels)
        .join(ExperimentDataset, ExperimentDataset.experiment_id == Experiment.id)
        .where(
            ExperimentDataset.dataset_id == dataset_id,
            ExperimentDataset.use == "train",
            Experiment.learns == kind,
            Experiment.deleted_at.is_(None),
        )
        .order_by(Experiment.created_at.desc())
    )


def _labels_here(session: Session, dataset_id: str, base_version: str | None, kind: str) -> Sequence[dict[str, Any]]:
    """Return the labels of the experiment of a version, else of those with a running loop."""
    if base_version:
        corrected = _trains(dataset_id, kind).join(ModelVersion, ModelVersion.experiment_id == Experiment.id)
        if found := session.scalars(corrected.where(ModelVersion.id == base_version)).all():
            return found
    loops = (
        select(Experiment.labels)
        .join(Job, Job.experiment_id == Experiment.id)
        .where(
            Job.dataset_id == dataset_id,
            Job.action == "annotation",
            Job.status == JobStatus.RUNNING,
            Experiment.learns == kind,
        )
        .order_by(Job.created_at.desc())
    )
    return session.scalars(loops).all()

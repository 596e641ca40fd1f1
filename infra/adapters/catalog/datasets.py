"""Questions about data sets. Every one names the organisation: nobody sees another's."""

from collections.abc import Sequence

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from configs.errors import NotFoundError
from infra.adapters.catalog.locks import lock
from infra.adapters.catalog.tables import Dataset, Experiment, ExperimentDataset

_MINE = select(Dataset).where(
    Dataset.id == bindparam("dataset"), Dataset.org == bindparam("org"), Dataset.deleted_at.is_(None)
)


def get(session: Session, org: str, dataset_id: str, *, for_change: bool = False) -> Dataset:
    """Return one data set; `for_change` locks its row.

    Raises:
        NotFoundError: If the organisation has none of this id, or it was deleted.
    """
    mine = {"dataset": dataset_id, "org": org}
    dataset = session.scalar(lock(session, _MINE) if for_change else _MINE, mine)
    if dataset is None:
        raise NotFoundError("dataset", dataset_id)
    return dataset


def find(session: Session, org: str, name: str) -> Dataset:
    """Return the data set of this id or, if there is none, the newest of this name.

    Raises:
        NotFoundError: If the organisation has neither.
    """
    mine = select(Dataset).where(Dataset.org == org, Dataset.deleted_at.is_(None))
    dataset = session.scalar(mine.where(Dataset.id == name)) or session.scalar(
        mine.where(Dataset.name == name).order_by(Dataset.created_at.desc()).limit(1)
    )
    if dataset is None:
        raise NotFoundError("dataset", name)
    return dataset


def listed(session: Session, org: str) -> Sequence[Dataset]:
    """Return the organisation's data sets."""
    query = select(Dataset).where(Dataset.org == org, Dataset.deleted_at.is_(None))
    return session.scalars(query.order_by(Dataset.created_at, Dataset.id)).all()


def users_of(session: Session, dataset_id: str) -> Sequence[str]:
    """Return the ids of the experiments that name this data set."""
    query = (
        select(Experiment.id)
        .join(ExperimentDataset, ExperimentDataset.experiment_id == Experiment.id)
        .where(ExperimentDataset.dataset_id == dataset_id, Experiment.deleted_at.is_(None))
        .distinct()
    )
    return session.scalars(query).all()

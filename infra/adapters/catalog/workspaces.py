"""Questions about workspaces. Every one names the organisation: nobody sees another's."""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from configs.errors import NotFoundError
from infra.adapters.catalog import outbox
from infra.adapters.catalog.locks import lock
from infra.adapters.catalog.outbox import OutboxKind
from infra.adapters.catalog.tables import Dataset, Experiment, Job, Workspace


def get(session: Session, org: str, workspace_id: str, *, for_change: bool = False) -> Workspace:
    """Return one workspace; `for_change` locks its row.

    Raises:
        NotFoundError: If the organisation has none of this id, or it was deleted.
    """
    mine = select(Workspace).where(Workspace.id == workspace_id, Workspace.org == org, Workspace.deleted_at.is_(None))
    workspace = session.scalar(lock(session, mine) if for_change else mine)
    if workspace is None:
        raise NotFoundError("workspace", workspace_id)
    return workspace


def listed(session: Session, org: str) -> Sequence[Workspace]:
    """Return the organisation's workspaces."""
    query = select(Workspace).where(Workspace.org == org, Workspace.deleted_at.is_(None))
    return session.scalars(query.order_by(Workspace.created_at, Workspace.id)).all()


def datasets_of(session: Session, workspace_id: str) -> Sequence[Dataset]:
    """Return the data sets that name a workspace."""
    query = select(Dataset).where(Dataset.workspace_id == workspace_id, Dataset.deleted_at.is_(None))
    return session.scalars(query.order_by(Dataset.created_at, Dataset.id)).all()


def users_of(session: Session, workspace_id: str) -> list[str]:
    """Say who still needs a workspace: data sets and experiments that name it, and results on their way there."""
    of_experiments = select(Experiment.id).where(
        Experiment.workspace_id == workspace_id, Experiment.deleted_at.is_(None)
    )
    users = [f"data set {row.id}" for row in datasets_of(session, workspace_id)]
    users += [f"experiment {found}" for found in session.scalars(of_experiments)]
    if outbox.undelivered(session, OutboxKind.RESULTS, workspace_id):
        users.append("results that are still being written there")
    return users


def _of_job(session: Session, job: Job) -> str | None:
    """Return the workspace that a job's results go to: its experiment's, else its data set's."""
    experiment = session.get_one(Experiment, job.experiment_id)
    dataset = session.get(Dataset, job.dataset_id) if job.dataset_id else None
    return experiment.workspace_id or (dataset.workspace_id if dataset else None)


def queue_results(session: Session, job: Job) -> None:
    """Have the files of a job that is done written to its workspace, if it has one; the job notes which it was."""
    job.workspace_id = _of_job(session, job)
    if job.workspace_id is not None:
        outbox.enqueue(session, OutboxKind.RESULTS, job.workspace_id, {"job": job.id})

"""Questions about experiments, base experiments and registered bundles."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from sqlalchemy import and_, bindparam, case, delete, func, or_, select
from sqlalchemy.orm import Session

from configs.errors import InvalidRequestError, NotFoundError
from configs.states import TERMINAL, TRAINING, JobStatus
from infra.adapters.catalog.locks import lock
from infra.adapters.catalog.tables import (
    Bundle,
    Decision,
    Experiment,
    ExperimentDataset,
    Job,
    ModelVersion,
    Publication,
)

Order = Literal["date-descending", "date-ascending", "name-ascending", "name-descending"]
_NEWEST_JOBS = (
    select(Job)
    .where(Job.experiment_id == bindparam("experiment"), Job.deleted_at.is_(None))
    .order_by(Job.created_at.desc())
    .limit(bindparam("most"))
)
_BUNDLES = select(Bundle).where(Bundle.removed_at.is_(None))
_ID_CHARS = 8
"""Of a bundle's id, which is a hash: fewer are a name."""
Uses = dict[str, list[str]]


def get(session: Session, org: str, experiment_id: str, *, for_change: bool = False) -> Experiment:
    """Return an experiment of the organisation, or a base experiment; `for_change` locks its row.

    Raises:
        NotFoundError: If there is none of this id, or it was deleted.
    """
    query = select(Experiment).where(
        Experiment.id == experiment_id,
        or_(Experiment.org == org, Experiment.org.is_(None)),
        Experiment.deleted_at.is_(None),
    )
    experiment = session.scalar(lock(session, query) if for_change else query)
    if experiment is None:
        raise NotFoundError("experiment", experiment_id)
    return experiment


def find(session: Session, org: str, name: str) -> Experiment:
    """Return the organisation's experiment of this id or, if there is none, the newest of this name.

    Raises:
        NotFoundError: If there is neither.
    """
    mine = select(Experiment).where(Experiment.org == org, Experiment.deleted_at.is_(None))
    # By id first: a name may look like another experiment's id.
    experiment = session.scalar(mine.where(Experiment.id == name)) or session.scalar(
        mine.where(Experiment.name == name).order_by(Experiment.created_at.desc()).limit(1)
    )
    if experiment is None:
        raise NotFoundError("experiment", name)
    return experiment


def listed(session: Session, org: str, *, own: bool = True, bases: bool = True) -> Sequence[Experiment]:
    """Return the organisation's experiments and the base experiments, or one of the two."""
    kinds = [and_(Experiment.org == org, Experiment.base.is_(False))] if own else []
    kinds += [Experiment.org.is_(None)] if bases else []
    query = select(Experiment).where(or_(*kinds), Experiment.deleted_at.is_(None))
    return session.scalars(query.order_by(Experiment.created_at, Experiment.id)).all()


def uses(session: Session, experiment_ids: Iterable[str]) -> Mapping[str, Uses]:
    """Return for each experiment its data sets by use: `train`, `eval`, `inference`."""
    wanted = list(experiment_ids)
    found: dict[str, Uses] = {experiment_id: {} for experiment_id in wanted}
    rows = session.scalars(select(ExperimentDataset).where(ExperimentDataset.experiment_id.in_(wanted)))
    for row in rows:
        found[row.experiment_id].setdefault(row.use, []).append(row.dataset_id)
    return found


def set_use(session: Session, experiment_id: str, use: str, dataset_ids: Sequence[str]) -> None:
    """Replace the data sets that the experiment has for one use."""
    session.execute(
        delete(ExperimentDataset).where(ExperimentDataset.experiment_id == experiment_id, ExperimentDataset.use == use)
    )
    session.add_all(
        ExperimentDataset(experiment_id=experiment_id, use=use, dataset_id=dataset_id)
        for dataset_id in dict.fromkeys(dataset_ids)
    )


def newest_jobs(session: Session, experiment_id: str, most: int) -> Sequence[Job]:
    """Return an experiment's jobs, the newest first."""
    return session.scalars(_NEWEST_JOBS, {"experiment": experiment_id, "most": most}).all()


def trainings(session: Session, experiment_id: str, most: int) -> Sequence[Job]:
    """Return an experiment's rounds and trainings, the newest first."""
    query = select(Job).where(Job.experiment_id == experiment_id, Job.action == "train", Job.deleted_at.is_(None))
    return session.scalars(query.order_by(Job.created_at.desc()).limit(most)).all()


def using(session: Session, org: str, dataset_id: str, *uses: str) -> Sequence[Experiment]:
    """Return the organisation's experiments that use a data set for one of these, the newest last; none = for any."""
    used = select(ExperimentDataset.experiment_id).where(ExperimentDataset.dataset_id == dataset_id)
    used = used.where(ExperimentDataset.use.in_(uses)) if uses else used
    mine = select(Experiment).where(Experiment.org == org, Experiment.deleted_at.is_(None), Experiment.id.in_(used))
    return session.scalars(mine.order_by(Experiment.created_at, Experiment.id)).all()


def jobs_on(session: Session, org: str, dataset_id: str, action: str, most: int) -> Sequence[tuple[Job, str]]:
    """Return a data set's jobs of an action with their experiments' names: what runs first, then the newest."""
    runs = case((Job.status.in_(TRAINING), 0), else_=1)
    query = select(Job, Experiment.name).join(Experiment, Experiment.id == Job.experiment_id)
    mine = (Job.org == org, Job.dataset_id == dataset_id, Job.action == action, Job.deleted_at.is_(None))
    found = session.execute(query.where(*mine).order_by(runs, Job.created_at.desc()).limit(most))
    return [(job, name) for job, name in found]


def job_page(
    session: Session,
    org: str,
    experiment_id: str | None,
    *,
    order: Order,
    name: str | None = None,
    skip: int = 0,
    size: int | None = None,
) -> tuple[Sequence[Job], int]:
    """Return one page of an experiment's jobs, or of the organisation's, and how many there are on all.

    Args:
        session: For questions.
        org: Whose.
        experiment_id: None = of all experiments.
        order: Down or up an index.
        name: Only jobs of this name; with a leading `!` only others.
        skip: Rows before the page.
        size: Rows of the page; None = to the end.
    """
    mine = [Job.org == org, Job.deleted_at.is_(None)]
    if experiment_id is not None:
        mine.append(Job.experiment_id == experiment_id)
    if name is not None:
        mine.append(Job.name != name[1:] if name.startswith("!") else Job.name == name)
    total = session.scalar(select(func.count()).select_from(Job).where(*mine)) or 0
    column = Job.name if order.startswith("name") else Job.modified_at
    directed = column.desc() if order.endswith("descending") else column
    return session.scalars(select(Job).where(*mine).order_by(directed).offset(skip).limit(size)).all(), total


def open_jobs(session: Session, experiment_id: str) -> Sequence[Job]:
    """Return the experiment's jobs that have not ended."""
    query = select(Job).where(Job.experiment_id == experiment_id, Job.status.not_in(TERMINAL))
    return session.scalars(query.order_by(Job.id)).all()


def job(session: Session, org: str, experiment_id: str, job_id: str) -> Job:
    """Return one job of one of the organisation's experiments.

    Raises:
        NotFoundError: If there is none, or it was deleted.
    """
    found = session.get(Job, job_id)
    if found is None or (found.org, found.experiment_id) != (org, experiment_id) or found.deleted_at is not None:
        raise NotFoundError("job", job_id)
    return found


def bundle(session: Session, bundle_id: str) -> Bundle:
    """Return a registered bundle.

    Raises:
        NotFoundError: If there is none of this id.
    """
    found = session.get(Bundle, bundle_id)
    if found is None:
        raise NotFoundError("bundle", bundle_id)
    return found


def bundles(session: Session) -> Sequence[Bundle]:
    """Return the registered bundles by name and version."""
    return session.scalars(_BUNDLES.order_by(Bundle.name, Bundle.version)).all()


def find_bundle(session: Session, name: str) -> Bundle:
    """Return the registered bundle whose id begins so or, if there is none, the newest of this name.

    Raises:
        NotFoundError: If there is none, or ids of several begin so.
    """
    beginning = _BUNDLES.where(Bundle.id.startswith(name, autoescape=True)).limit(2)
    by_id = session.scalars(beginning).all() if len(name) >= _ID_CHARS else []
    newest = _BUNDLES.where(Bundle.name == name).order_by(Bundle.created_at.desc(), Bundle.version.desc()).limit(1)
    found = by_id[0] if len(by_id) == 1 else session.scalar(newest)
    if found is None:
        raise NotFoundError("bundle", name, [row.name for row in bundles(session)])
    return found


def bundle_from(session: Session, source: str) -> Bundle | None:
    """Return the newest bundle that was registered from this path or address."""
    return session.scalar(_BUNDLES.where(Bundle.source == source).order_by(Bundle.created_at.desc()).limit(1))


def users_of(session: Session, bundle_id: str) -> Sequence[Experiment]:
    """Return the experiments of all organisations that use a bundle; no base experiments."""
    query = select(Experiment).where(Experiment.bundle_id == bundle_id, Experiment.base.is_(False))
    return session.scalars(query.where(Experiment.deleted_at.is_(None)).order_by(Experiment.created_at)).all()


def bases_of(session: Session, bundle_id: str) -> Sequence[Experiment]:
    """Return the base experiments that show a bundle."""
    query = select(Experiment).where(Experiment.bundle_id == bundle_id, Experiment.base.is_(True))
    return session.scalars(query.where(Experiment.deleted_at.is_(None))).all()


def base_of(session: Session, name: str, version: str) -> Experiment | None:
    """Return the base experiment that shows a bundle of this name and version."""
    shared = select(Experiment).where(Experiment.base.is_(True), Experiment.org.is_(None), Experiment.name == name)
    bases = session.scalars(shared.where(Experiment.deleted_at.is_(None)))
    # Compared here: there are a few, and the two databases ask differently what stands in JSON.
    return next((base for base in bases if base.shown.get("version") == version), None)


def versions(session: Session, experiment_id: str) -> Sequence[ModelVersion]:
    """Return the experiment's model versions, the newest first."""
    query = select(ModelVersion).where(ModelVersion.experiment_id == experiment_id)
    return session.scalars(query.order_by(ModelVersion.number.desc())).all()


def publications(session: Session, experiment_id: str) -> Sequence[Publication]:
    """Return what was published in the experiment, the newest first."""
    query = select(Publication).where(Publication.experiment_id == experiment_id)
    return session.scalars(query.order_by(Publication.seq.desc())).all()


def decisions(session: Session, experiment_id: str) -> dict[str, str]:
    """Return what was decided of the experiment's versions, by version: published, kept_back, review, declined."""
    query = (
        select(ModelVersion.id, Decision.outcome)
        .join(Decision, Decision.job_id == ModelVersion.job_id)
        .where(ModelVersion.experiment_id == experiment_id)
    )
    by_gate = select(Publication.version_id).where(
        Publication.experiment_id == experiment_id, Publication.job_id.is_not(None)
    )
    found = dict.fromkeys(session.scalars(by_gate), "published")
    found.update((version, outcome) for version, outcome in session.execute(query).tuples())
    return found


def version_of_job(session: Session, experiment_id: str, job_id: str) -> ModelVersion:
    """Return the version that a training made.

    Raises:
        NotFoundError: If the experiment has no such job.
        InvalidRequestError: If that is no training, or has not ended with a model.
    """
    job = session.get(Job, job_id)
    if job is None or job.experiment_id != experiment_id:
        raise NotFoundError("job of the experiment", job_id)
    if job.action != "train":
        msg = f"Job {job_id} is of the action {job.action!r}, which has no weights of its own"
        raise InvalidRequestError(f"{msg}: name a train job, such as one of a loop's rounds")
    query = select(ModelVersion).where(ModelVersion.experiment_id == experiment_id, ModelVersion.job_id == job_id)
    found = session.scalar(query)
    if found is None or job.status != JobStatus.DONE:
        raise InvalidRequestError(f"Train job {job_id} is {job.status} and has made no model: name one that is Done")
    return found

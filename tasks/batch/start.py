"""A batch of predictions is asked for: over HTTP, or in Prefect."""

from typing import Any

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from configs.errors import InvalidRequestError, NotFoundError
from configs.specs.batch import BatchSpec
from configs.states import AttemptState, JobStatus
from infra.adapters.catalog import experiments, jobs, outbox
from infra.adapters.catalog.tables import Attempt, Dataset, Experiment, Image, Job, ModelVersion
from infra.adapters.catalog.tables.base import now
from infra.wiring import Parts
from tasks.rounds.jobs.adopt import experiment_named
from tasks.rounds.jobs.after import comes_after
from tasks.rounds.jobs.attempts import fail

ACTION = "batchinfer"
# Databases bound how many values a statement may have.
_ASKED_AT_ONCE = 500


def start_batch(
    session: Session,
    experiment: Experiment,
    spec: BatchSpec,
    *,
    actor: str,
    name: str = "",
    request: dict[str, Any] | None = None,
    after: str | None = None,
) -> Job:
    """Ask for predictions; which version makes them is fixed now, so that all of them are of one.

    Where they come *after* another job that is still to make that version, it is fixed when they start.

    Raises:
        InvalidRequestError: If the experiment has no model yet, or no data set to predict on.
        NotFoundError: If there is no such data set, image or version.
    """
    if experiment.org is None:
        raise InvalidRequestError("A base experiment cannot run jobs: create an experiment that names it as its base.")
    dataset = _dataset(session, experiment, spec.dataset_id)
    _check_images(session, dataset, spec.images)
    # Names mean something else tomorrow: an attempt that goes on must go on with the same.
    fixed = spec.model_copy(update={"dataset_id": dataset.id})
    job = Job(
        org=experiment.org,
        experiment_id=experiment.id,
        dataset_id=dataset.id,
        action=ACTION,
        status=JobStatus.PENDING,
        name=name,
        spec=fixed.model_dump(mode="json"),
        request=request or {},
        due_at=session.scalar(select(now())),
        created_by=actor,
    )
    if not comes_after(session, job, after):
        fix_version(session, job)
    session.add(job)
    session.flush()
    session.add(Attempt(job_id=job.id, n=1))
    outbox.enqueue(session, outbox.OutboxKind.START_FLOW, job.id, {"attempt": 1})
    return job


def fix_version(session: Session, job: Job) -> None:
    """Fix which version predicts: `published` means something else tomorrow.

    Safe to repeat: what is fixed stays.

    Raises:
        InvalidRequestError: If the experiment has no model yet, or the training that is named is not Done.
        NotFoundError: If there is no such version.
    """
    version = _version(session, session.get_one(Experiment, job.experiment_id), BatchSpec.model_validate(job.spec))
    job.spec = {**job.spec, "version_id": version}


def may_start(session: Session, job_id: str, n: int) -> bool:
    """Say whether attempt *n* of a batch may start; one that came after another job is given its version by that.

    Where there is no such version, the job ends in Error.
    """
    job = jobs.locked(session, job_id)
    attempt = jobs.attempt(session, job_id, n)
    if job.current_attempt != n or attempt is None or attempt.state != AttemptState.QUEUED:
        return False
    if job.after_id is None:
        return True
    try:
        fix_version(session, job)
    except (InvalidRequestError, NotFoundError) as error:
        fail(session, job_id, n, str(error))
        return False
    return True


def adopt_batch(parts: Parts, flow_run_id: str, experiment: str, dataset: str, spec: BatchSpec, reason: str) -> str:
    """Make the job of a run that a person started, or find it if the run is a repeat; return its id.

    Raises:
        NotFoundError: If there is no such experiment or data set.
        InvalidRequestError: If the experiment has no model yet.
    """
    with parts.catalog.write() as session:
        known = jobs.of_run(session, flow_run_id)
        if known is not None:
            return known
        found = experiment_named(session, experiment)
        wanted = spec.model_copy(update={"dataset_id": dataset or None})
        job = start_batch(session, found, wanted, actor="prefect", name=reason or "Started in Prefect")
        session.get_one(Attempt, (job.id, 1)).flow_run_id = flow_run_id
        return job.id


def _dataset(session: Session, experiment: Experiment, wanted: str | None) -> Dataset:
    """Return the data set of this id or name, by default the experiment's own."""
    if wanted is None:
        uses = experiments.uses(session, [experiment.id])[experiment.id]
        own = [*uses.get("inference", ()), *uses.get("train", ())]
        if not own:
            raise InvalidRequestError("The experiment names no data set for inference: name one as dataset_id")
        return session.get_one(Dataset, own[0])
    query = select(Dataset).where(
        Dataset.org == experiment.org, Dataset.deleted_at.is_(None), or_(Dataset.id == wanted, Dataset.name == wanted)
    )
    found = session.scalars(query.order_by(Dataset.created_at.desc())).all()
    if not found:
        raise NotFoundError("dataset", wanted)
    return next((each for each in found if each.id == wanted), found[0])


def _check_images(session: Session, dataset: Dataset, keys: list[str]) -> None:
    for first in range(0, len(keys), _ASKED_AT_ONCE):
        page = keys[first : first + _ASKED_AT_ONCE]
        known = set(session.scalars(select(Image.key).where(Image.dataset_id == dataset.id, Image.key.in_(page))))
        for key in page:
            if key not in known:
                raise NotFoundError("image", key)


def _version(session: Session, experiment: Experiment, spec: BatchSpec) -> str:
    if spec.train_job_id is not None:
        return experiments.version_of_job(session, experiment.id, spec.train_job_id).id
    wanted = spec.version_id or experiment.published_version
    if wanted is None:
        raise InvalidRequestError("The experiment has no model yet: label images until its first round is published")
    found = session.get(ModelVersion, wanted)
    if found is None or found.experiment_id != experiment.id:
        raise NotFoundError("model version", wanted)
    return found.id

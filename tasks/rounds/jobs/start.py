"""Jobs come into being: a loop, or one training."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from configs.errors import ConflictError, InvalidRequestError, NotFoundError
from configs.specs.annotation import AnnotationSpec
from configs.specs.overrides import fault_of
from configs.specs.round import RoundSpec
from configs.specs.train import TrainSpec
from configs.states import TERMINAL, JobStatus, LabelState
from infra.adapters.catalog import jobs, outbox
from infra.adapters.catalog.locks import lock
from infra.adapters.catalog.tables import (
    Attempt,
    Bundle,
    Dataset,
    Experiment,
    ExperimentDataset,
    Job,
    Label,
    ModelVersion,
)
from infra.adapters.catalog.tables.base import now
from tasks.devices import ask as devices
from tasks.labels.choosing.choose import about, images_to_learn
from tasks.rounds.count import add_all_pending, open_round_if_due
from tasks.rounds.jobs.after import comes_after
from tasks.rounds.jobs.secrets import secret_in
from tasks.selection.ask import ask_for_order


def start_annotation(
    session: Session,
    experiment: Experiment,
    spec: AnnotationSpec,
    *,
    actor: str,
    name: str = "",
    request: dict[str, Any] | None = None,
) -> Job:
    """Start the experiment's continual-learning loop. It runs at once; its rounds come as labels do.

    Images labelled since the last finished round of the experiment are pending from the beginning, so labels that
    were notified before the loop began count.

    Raises:
        InvalidRequestError: If the experiment does not have exactly one training data set.
        ConflictError: If another loop of the experiment is open.
    """
    check_spec(session, experiment, spec.train_spec)
    dataset = hold_training_data(session, experiment)
    other = session.scalar(
        select(Job.id).where(
            Job.experiment_id == experiment.id, Job.action == "annotation", Job.status.not_in(TERMINAL)
        )
    )
    if other is not None:
        raise ConflictError(f"Annotation job {other} of this experiment is still open: cancel it first.")
    loop = _job(experiment, dataset, "annotation", JobStatus.RUNNING, actor=actor, name=name, request=request)
    loop.spec, loop.round_size = spec.model_dump(mode="json"), spec.round_size
    session.add(loop)
    session.flush()
    count_again(session, loop)
    open_round_if_due(session, loop)
    ask_for_order(session, experiment)
    require_alive(session, experiment.id)
    return loop


def start_train(
    session: Session,
    experiment: Experiment,
    spec: RoundSpec,
    *,
    actor: str,
    name: str = "",
    request: dict[str, Any] | None = None,
    after: str | None = None,
) -> Job:
    """Start one training on all labels so far, or join one of the experiment that waits to train the same way.

    A waiting one that publishes nothing publishes as the one who joins it says. A loop's round that waits is another
    matter: it publishes and is cancelled as the loop's owner said.

    Args:
        session: A unit.
        experiment: What to train.
        spec: How, and what to do with the result.
        actor: Who asks.
        name: Shown in lists.
        request: What the caller sent, as echoed.
        after: The job that it waits for.

    Raises:
        InvalidRequestError: If the experiment does not have exactly one training data set.
    """
    check_spec(session, experiment, spec.train)
    dataset = hold_training_data(session, experiment)
    waiting = _same_that_waits(session, experiment, spec, after)
    if waiting is not None:
        return waiting
    job = _job(experiment, dataset, "train", JobStatus.PENDING, actor=actor, name=name, request=request)
    job.spec = spec.model_dump(mode="json")
    job.due_at = session.scalar(select(now()))
    comes_after(session, job, after)
    session.add(job)
    session.flush()
    session.add(Attempt(job_id=job.id, n=1))
    outbox.enqueue(session, outbox.OutboxKind.START_FLOW, job.id, {"attempt": 1})
    require_alive(session, experiment.id)
    return job


def check_spec(session: Session, experiment: Experiment, spec: TrainSpec) -> None:
    """Refuse a spec that the experiment's bundle cannot follow, before anything is gathered or trained for it.

    Raises:
        InvalidRequestError: If it has no such configuration; if an override names what the bundle has not got, or is a
            secret or no plain value; if no machine has the devices for it; if the version to start from is not of this
            experiment or of one that it descends from, or belongs to other labels.
        NotFoundError: If there is no such version.
    """
    bundle = session.get_one(Bundle, experiment.bundle_id)
    fault = fault_of(spec.overrides, _known_to(bundle, spec.config_file))
    if fault:
        raise InvalidRequestError(fault)
    secret = secret_in(spec.overrides)
    if secret:
        raise InvalidRequestError(
            f"The override {secret!r} is a secret by its name or value, and a bundle is given none: it computes without"
            " network and credentials. Leave it out"
        )
    short = devices.fault_of(session, spec)
    if short:
        raise InvalidRequestError(short)
    if spec.start_from in {"auto", "base", "published"}:
        return
    version = session.get(ModelVersion, spec.start_from)
    owner = session.get(Experiment, version.experiment_id) if version else None
    if version is None or owner is None or owner.org != experiment.org:
        raise NotFoundError("model version", spec.start_from)
    # Sides are given by lineage: weights from elsewhere may have seen this experiment's evaluation patients.
    if owner.lineage != experiment.lineage or owner.labels != experiment.labels or version.weights is None:
        raise InvalidRequestError(
            f"Model version {version.id} is not of this experiment's lineage and labels: name one that"
            " `teachback models` shows for it, or base or published"
        )


def _known_to(bundle: Bundle, files: Sequence[str]) -> frozenset[str]:
    """Return the ids that an override may name in these files of a bundle; none named = in those of its own choice."""
    keys: dict[str, list[str]] = bundle.check.get("config_files", {})
    for name in files:
        if name not in keys:
            raise InvalidRequestError(
                f"The bundle has no configuration {name!r}: name some of {', '.join(sorted(keys))}"
            )
    named = [key for name in files for key in keys[name]]
    return frozenset(named if files else bundle.check.get("training_keys", ()))


def require_alive(session: Session, experiment_id: str) -> None:
    """Keep the experiment from being deleted until the unit ends: its deletion then meets the job made here.

    Raises:
        NotFoundError: If it was deleted meanwhile.
    """
    query = select(Experiment).where(Experiment.id == experiment_id, Experiment.deleted_at.is_(None))
    if session.scalar(lock(session, query)) is None:
        raise NotFoundError("experiment", experiment_id)


def _same_that_waits(session: Session, experiment: Experiment, spec: RoundSpec, after: str | None) -> Job | None:
    """Return a training that waits and does what *spec* says; one of the two may have had nothing to publish."""
    waiting = session.scalars(
        select(Job.id)
        .where(
            Job.experiment_id == experiment.id,
            Job.action == "train",
            Job.status == JobStatus.PENDING,
            Job.parent_id.is_(None),
            Job.after_id == after,
        )
        .order_by(Job.id)
    ).all()
    for job_id in waiting:
        job = jobs.locked(session, job_id)
        found = RoundSpec.model_validate(job.spec)
        asked = {found.publish, spec.publish} - {"none"}
        same = found.model_copy(update={"publish": spec.publish}) == spec
        if job.status == JobStatus.PENDING and same and len(asked) <= 1:
            job.spec = {**job.spec, "publish": next(iter(asked), "none")}
            return job
    return None


def count_again(session: Session, loop: Job) -> None:
    """Count what no finished round has trained on: labels from before the loop, or taken by rounds that did not end.

    Call it inside a unit that holds the loop's row.
    """
    add_all_pending(session, loop, _labelled_since(session, loop, jobs.trained_to(session, loop.experiment_id)))


def hold_training_data(session: Session, experiment: Experiment) -> str:
    """Return the experiment's training data set, its row held until the unit ends: starts of jobs come one by one.

    Raises:
        InvalidRequestError: If there is not exactly one.
    """
    found = session.scalars(
        select(ExperimentDataset.dataset_id).where(
            ExperimentDataset.experiment_id == experiment.id, ExperimentDataset.use == "train"
        )
    ).all()
    if len(found) != 1:
        raise InvalidRequestError(
            f"Training needs exactly one training data set and this experiment has {len(found)}: set train_datasets."
        )
    session.execute(lock(session, select(Dataset.id).where(Dataset.id == found[0])))
    return found[0]


def _labelled_since(session: Session, loop: Job, seq: int) -> list[int]:
    dataset, experiment = loop.dataset_id or "", session.get_one(Experiment, loop.experiment_id)
    query = select(Label).where(
        Label.dataset_id == dataset,
        Label.state == LabelState.ACTIVE,
        Label.seq > seq,
        Label.imported.is_(False),
        Label.kind == experiment.learns,
    )
    fresh = about(session.scalars(query.order_by(Label.seq)).all(), experiment.labels)
    return images_to_learn(session, dataset, list(dict.fromkeys(label.image_id for label in fresh)), experiment)


def _job(experiment: Experiment, dataset: str, action: str, status: JobStatus, **shown: Any) -> Job:
    if experiment.org is None:
        raise InvalidRequestError("A base experiment cannot run jobs: create an experiment that names it as its base.")
    return Job(
        org=experiment.org,
        experiment_id=experiment.id,
        dataset_id=dataset,
        action=action,
        status=status,
        created_by=shown["actor"],
        name=shown["name"],
        request=shown["request"] or {},
    )

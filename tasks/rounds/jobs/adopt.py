"""A person starts a round: from Prefect's form or with `prefect deployment run`."""

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from configs.errors import ConflictError, NotFoundError
from configs.specs.annotation import AnnotationSpec, PublishPolicy
from configs.specs.round import RoundSpec
from configs.specs.train import TrainSpec
from configs.states import TERMINAL, JobStatus
from infra.adapters.catalog import jobs
from infra.adapters.catalog.tables import Attempt, Experiment, Job
from infra.wiring import Parts
from tasks.rounds.count import open_round_if_due
from tasks.rounds.jobs.start import check_spec, count_again, hold_training_data, start_train
from tasks.rounds.steps import tracked


def adopt(
    parts: Parts,
    flow_run_id: str,
    experiment: str,
    *,
    publish: PublishPolicy = "gate",
    train: TrainSpec | None = None,
    reason: str = "",
    of_loop: bool = True,
) -> str:
    """Make the job that this flow run works on, or find it if the run is a repeat; return its id.

    While the experiment's loop runs and labels are pending the job is the loop's next round, if `of_loop` says so;
    else one training.

    Raises:
        NotFoundError: If there is no such experiment.
        InvalidRequestError: If the spec names a tracking server that may not be called.
        ConflictError: If a round or training of it is running; the message names it.
    """
    if train is not None:
        tracked.check(parts, train)

    def adopted(session: Session) -> str:
        """Return the job of this run: the one that it has already, the loop's next round, or a training."""
        known = jobs.of_run(session, flow_run_id)
        if known is not None:
            return known
        found = experiment_named(session, experiment)
        hold_training_data(session, found)
        loop = _running_loop(session, found)
        running = session.scalar(
            select(Job).where(Job.experiment_id == found.id, Job.action == "train", Job.status.not_in(TERMINAL))
        )
        if running is not None:
            shown = f"round {running.round_no}" if running.round_no else f"job {running.id}"
            raise ConflictError(f"{shown} of this experiment is {running.status}: wait for it, or cancel it.")
        spec = RoundSpec(train=train or TrainSpec(), publish=publish)
        check_spec(session, found, spec.train)
        round_ = _round_of_loop(session, loop, publish, train) if loop is not None and of_loop else None
        job = round_ or start_train(session, found, spec, actor="prefect", name=reason or "Started in Prefect")
        job.description = reason or job.description
        attempt = session.get_one(Attempt, (job.id, 1))
        attempt.flow_run_id = flow_run_id
        return job.id

    return parts.catalog.unit(adopted)


def experiment_named(session: Session, wanted: str) -> Experiment:
    """Return the experiment with this id or, if only one has it, this name.

    Raises:
        NotFoundError: If there is none.
        ConflictError: If several have the name.
    """
    query = select(Experiment).where(
        or_(Experiment.id == wanted, Experiment.name == wanted),
        Experiment.deleted_at.is_(None),
        Experiment.base.is_(False),
    )
    found = session.scalars(query.order_by(Experiment.created_at.desc())).all()
    if not found:
        names = session.scalars(select(Experiment.name).where(Experiment.base.is_(False))).all()
        raise NotFoundError("experiment", wanted, known=names)
    if len(found) > 1 and found[0].id != wanted:
        raise ConflictError(f"{len(found)} experiments are named {wanted!r}: give the id.")
    return found[0]


def _running_loop(session: Session, experiment: Experiment) -> Job | None:
    loop = session.scalar(
        select(Job.id).where(
            Job.experiment_id == experiment.id, Job.action == "annotation", Job.status == JobStatus.RUNNING
        )
    )
    return None if loop is None else jobs.locked(session, loop)


def _round_of_loop(session: Session, loop: Job, publish: PublishPolicy, train: TrainSpec | None) -> Job | None:
    """Open the loop's next round; it trains as the loop does unless the person says how."""
    count_again(session, loop)
    round_ = open_round_if_due(session, loop, at_least=1)
    if round_ is not None:
        own = RoundSpec.of(AnnotationSpec.model_validate(loop.spec))
        asked = own.model_copy(update={"publish": publish, "train": train or own.train})
        round_.spec = asked.model_dump(mode="json")
    return round_

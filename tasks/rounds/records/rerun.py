"""A round again: the same snapshot, spec and seeds, under a job of its own that publishes nothing."""

from pydantic import BaseModel, ConfigDict
from sqlalchemy import select
from sqlalchemy.orm import Session

from configs.errors import ConflictError
from configs.specs.round import RoundSpec
from configs.states import JobStatus
from infra.adapters.catalog import outbox
from infra.adapters.catalog.tables import Attempt, Experiment, Job, ModelVersion
from infra.adapters.catalog.tables.base import now
from tasks.rounds.jobs.start import require_alive
from tasks.rounds.records.result import RoundResult, VersionScores
from tasks.rounds.records.snapshot import Snapshot


class Compared(BaseModel):
    """One number of both; None where nothing was measured."""

    model_config = ConfigDict(frozen=True)

    name: str
    before: float | None
    after: float | None


class Difference(BaseModel):
    """A round and its rerun, both judged against what was published when the round was.

    The weights are compared bit for bit; `same_weights` is None until both have some.
    """

    model_config = ConfigDict(frozen=True)

    round: str
    rerun: str
    status: str
    message: str
    same_weights: bool | None = None
    numbers: list[Compared] = []


def start_rerun(session: Session, original: Job, snapshot: Snapshot, *, actor: str) -> Job:
    """Train again what a round trained, from the snapshot that it wrote; call it inside a unit.

    Raises:
        ConflictError: If the experiment has other labels or another bundle by now.
        NotFoundError: If the experiment was deleted meanwhile.
    """
    experiment = session.get_one(Experiment, original.experiment_id)
    labels = {int(index): name for index, name in experiment.labels.items()}
    if labels != snapshot.labels or experiment.bundle_id != snapshot.bundle:
        raise ConflictError(
            f"Job {original.id} was trained with other labels or another bundle than the experiment has now:"
            " make an experiment like that one"
        )
    if RoundSpec.model_validate(original.spec).train != snapshot.spec.train:
        raise ConflictError(f"Job {original.id} was given other specs while it was paused: no one training is like it")
    spec = snapshot.spec.model_copy(update={"publish": "none", "rerun_of": original.id})
    job = Job(
        org=original.org,
        experiment_id=original.experiment_id,
        dataset_id=original.dataset_id,
        action="train",
        status=JobStatus.PENDING,
        created_by=actor,
        name=f"Round {original.round_no} again" if original.round_no else f"Training {original.id} again",
        spec=spec.model_dump(mode="json"),
        due_at=session.scalar(select(now())),
    )
    session.add(job)
    session.flush()
    session.add(Attempt(job_id=job.id, n=1))
    outbox.enqueue(session, outbox.OutboxKind.START_FLOW, job.id, {"attempt": 1})
    require_alive(session, original.experiment_id)
    return job


def difference(session: Session, rerun: Job) -> Difference:
    """Return what came out differently.

    Raises:
        ConflictError: If the job is no rerun.
    """
    of = RoundSpec.model_validate(rerun.spec).rerun_of
    original = session.get(Job, of) if of else None
    if original is None:
        raise ConflictError(f"Job {rerun.id} is no rerun: ask for one with `teachback rounds rerun`")
    weights = [_weights(session, job) for job in (original, rerun)]
    return Difference(
        round=original.id,
        rerun=rerun.id,
        status=rerun.status,
        message=rerun.message,
        same_weights=weights[0] == weights[1] if all(weights) else None,
        numbers=_numbers(*(RoundResult.model_validate(job.result) for job in (original, rerun))),
    )


def _weights(session: Session, job: Job) -> str | None:
    return session.scalar(select(ModelVersion.weights).where(ModelVersion.job_id == job.id))


def _numbers(before: RoundResult, after: RoundResult) -> list[Compared]:
    plain = ("epoch", "steps", "train_seconds", "key_metric", "forgetting")
    rows = [Compared(name=name, before=getattr(before, name), after=getattr(after, name)) for name in plain]
    for whose in ("published", "challenger"):
        both: list[VersionScores | None] = [getattr(result, whose) for result in (before, after)]
        means = [scores.mean if scores else None for scores in both]
        rows.append(Compared(name=f"mean of the {whose}", before=means[0], after=means[1]))
    scores = [result.challenger.per_label if result.challenger else {} for result in (before, after)]
    names = sorted({*scores[0], *scores[1]})
    return rows + [Compared(name=name, before=scores[0].get(name), after=scores[1].get(name)) for name in names]

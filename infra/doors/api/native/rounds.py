"""Rounds of an experiment: what each trained on, how it was judged, what became of it."""

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel

from infra.adapters.catalog.tables import Job
from infra.doors.api.deps import CallerDep, PartsDep
from infra.services.learning import models, reruns
from tasks.publishing.gate import Verdict
from tasks.rounds.records.rerun import Difference
from tasks.rounds.records.result import CohortResult, RoundResult, VersionScores

router = APIRouter(tags=["rounds"])


class RoundResponse(BaseModel):
    """One round, or one training that somebody asked for (`round` is then null).

    `start_seconds`: from the last label that made it due to the end of the first training step. Scores are per label
    name, from 0 to 1, in the metric that `metric_name` names. `reason` is the verdict in one line, with its numbers.
    `left_out`: images (catalog ids) that took no part, since they or their labels cannot be read.
    """

    job_id: str
    loop_id: str | None
    round: int | None
    status: str
    message: str
    attempts: int
    labels: int
    training_cases: int
    left_out: list[int]
    metric_kind: str | None
    metric_name: str
    metric_cases: int
    key_metric: float | None
    prequential_mean: float | None
    prequential_cases: int
    scores_reused: int
    published: VersionScores | None
    challenger: VersionScores | None
    cohorts: list[CohortResult]
    forgetting: float | None
    head_rebuilt: bool
    decision: str | None
    reason: str
    verdict: Verdict | None
    train_seconds: float | None
    start_seconds: float | None
    isolation: str
    created_at: float

    @classmethod
    def of(cls, job: Job) -> "RoundResponse":
        """Show one round."""
        result = RoundResult.model_validate(job.result)
        return cls(
            job_id=job.id,
            loop_id=job.parent_id,
            round=job.round_no,
            status=job.status,
            message=job.message,
            attempts=job.current_attempt,
            labels=result.labels,
            training_cases=result.training_cases,
            left_out=result.left_out,
            metric_kind=result.metric_kind,
            metric_name=result.metric_name,
            metric_cases=result.metric_cases,
            prequential_mean=result.prequential_mean,
            prequential_cases=result.prequential_cases,
            scores_reused=result.scores_reused,
            cohorts=result.cohorts,
            forgetting=result.forgetting,
            head_rebuilt=result.head_rebuilt,
            reason=result.reason,
            key_metric=result.key_metric,
            published=result.published,
            challenger=result.challenger,
            decision=result.decision,
            verdict=result.verdict,
            train_seconds=result.train_seconds,
            start_seconds=result.start_seconds,
            isolation=result.isolation,
            created_at=job.created_at,
        )


class RoundsResponse(BaseModel):
    """An experiment's rounds, the newest first."""

    experiment_id: str
    experiment: str
    rounds: list[RoundResponse]


class RerunResponse(BaseModel):
    """The job that trains again."""

    job_id: str


@router.post("/rounds/{job_id}:rerun", status_code=HTTPStatus.CREATED)
def rerun_round(job_id: str, parts: PartsDep, caller: CallerDep) -> RerunResponse:
    """Train a round again from its snapshot, with the same seeds; nothing is published."""
    return RerunResponse(job_id=reruns.rerun(parts, caller, job_id))


@router.get("/rounds/{job_id}:difference")
def compare_rerun(job_id: str, parts: PartsDep, caller: CallerDep) -> Difference:
    """Say how a rerun differs from the round that it repeats, as far as it has come."""
    return reruns.compare(parts, caller, job_id)


@router.get("/rounds")
def list_rounds(
    parts: PartsDep, caller: CallerDep, experiment: Annotated[str, Query(description="Id or name.")]
) -> RoundsResponse:
    """List the rounds and trainings of an experiment."""
    found = models.rounds(parts, caller, experiment)
    rows = [RoundResponse.of(job) for job in found.jobs]
    return RoundsResponse(experiment_id=found.experiment.id, experiment=found.experiment.name, rounds=rows)

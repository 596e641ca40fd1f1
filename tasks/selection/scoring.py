"""Scores that somebody asks for: a job, so that it can be watched and stopped, and outlives whoever asked."""

from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from configs.errors import InvalidRequestError
from configs.specs.score import ScoringMethod, ScoringResult, ScoringSpec
from configs.states import TERMINAL, AttemptState, JobStatus
from infra.adapters.catalog import jobs, outbox
from infra.adapters.catalog.locks import lock
from infra.adapters.catalog.tables import Attempt, Bundle, Experiment, Job
from infra.wiring import Parts
from tasks.bundles.orders import check_method
from tasks.rounds.jobs import attempts
from tasks.rounds.steps.work import Claim
from tasks.selection.refresh import refresh_scores

ACTION = "scoring"


def start_scoring(
    session: Session,
    experiment: Experiment,
    dataset_id: str,
    method: ScoringMethod,
    *,
    actor: str,
    request: dict[str, Any],
) -> tuple[Job, bool]:
    """Ask for scores of a data set; return the job, and whether it is new: what waits or runs is not asked for twice.

    Raises:
        InvalidRequestError: If the experiment has no model yet, or its app no method of this name.
    """
    if experiment.org is None or experiment.published_version is None:
        raise InvalidRequestError(
            f"{experiment.name} has no model yet: label images until its first round is published"
        )
    check_method(session.get_one(Bundle, experiment.bundle_id), method)
    # Two requests at once would both find nothing.
    session.execute(lock(session, select(Experiment.id).where(Experiment.id == experiment.id)))
    spec = ScoringSpec(method=method).model_dump(mode="json")
    mine = (Job.experiment_id == experiment.id, Job.dataset_id == dataset_id, Job.action == ACTION)
    for known in session.scalars(select(Job).where(*mine, Job.status.not_in(TERMINAL))):
        if known.spec == spec:
            return known, False
    job = Job(
        org=experiment.org,
        experiment_id=experiment.id,
        dataset_id=dataset_id,
        action=ACTION,
        status=JobStatus.PENDING,
        spec=spec,
        request=request,
        created_by=actor,
    )
    session.add(job)
    session.flush()
    session.add(Attempt(job_id=job.id, n=1))
    outbox.enqueue(session, outbox.OutboxKind.START_FLOW, job.id, {"attempt": 1})
    return job, True


def score_as_asked(parts: Parts, held: Claim) -> None:
    """Score what the published version has not, as a job asks for it, and close the job.

    Raises:
        SupersededError: If the attempt may no longer write.
        HostError: If the bundle fails.
        StoreError: If the store cannot be read.
    """
    with parts.catalog.read() as session:
        job = jobs.get(session, held.job_id)
        method = ScoringSpec.model_validate(job.spec).method
    scored, gave_way = refresh_scores(parts, job.experiment_id, job.dataset_id or "", method)
    with parts.catalog.write() as session:
        job = attempts.fence(session, held.job_id, held.n)
        rest = "; it gave way to a round that waits: ask again for the rest" if gave_way else ""
        job.status, job.message = JobStatus.DONE, f"{method}: {scored} scores are new{rest}"
        job.result = ScoringResult(method=method, scored=scored).model_dump(mode="json")
        ended = jobs.attempt(session, held.job_id, held.n)
        if ended is not None:
            ended.state = AttemptState.ENDED

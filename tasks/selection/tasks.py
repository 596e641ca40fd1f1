"""Prefect's edge of selection."""

import logging

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.runtime import flow_run

from configs.errors import TaskFailedError, TeachbackError, UpstreamError
from configs.specs.score import ScoringMethod
from tasks.rounds.steps.failures import in_our_words
from tasks.rounds.steps.work import Claim, open_work
from tasks.rounds.tasks import parts
from tasks.selection.refresh import refresh_scores
from tasks.selection.refresh_all import Refreshed, refresh_all
from tasks.selection.scoring import score_as_asked

log = logging.getLogger(__name__)


@task(name="refresh-scores", cache_policy=NO_CACHE)
def refresh_strategy_scores(held: Claim) -> None:
    """Score unlabelled images with the published model; the round is done, so a failure here only is a warning."""
    try:
        with in_our_words(parts(), held):
            work = open_work(parts(), held)
            refresh_scores(parts(), work.experiment_id, work.dataset_id)
    except TeachbackError as error:
        log.warning("scores were not refreshed after job %s: %s", held.job_id, error)


@task(name="score", cache_policy=NO_CACHE)
def refresh_all_scores(experiment: str, method: ScoringMethod | None) -> list[Refreshed]:
    """Score unlabelled images of one experiment or of all, with what each has published."""
    return refresh_all(parts(), experiment, method)


@task(name="score", cache_policy=NO_CACHE)
def score_for_job(held: Claim) -> None:
    """Score what a job asks for, and close it."""
    with in_our_words(parts(), held):
        score_as_asked(parts(), held)


@task(name="report", cache_policy=NO_CACHE)
def report_scores(done: list[Refreshed]) -> None:
    """Show in Prefect how many images were scored.

    Raises:
        TaskFailedError: If an experiment's images could not all be scored.
    """
    scored = sum(each.scored for each in done)
    rows = [each.model_dump() for each in done]
    try:
        parts().orchestrator.table("refresh-scores", rows, f"{scored} images were scored.", str(flow_run.get_id()))
    except UpstreamError:
        log.warning("the table could not be shown in Prefect")
    failed = [each for each in done if each.error]
    if failed:
        said = f"{len(failed)} experiments could not be scored: {failed[0].error}"
        raise TaskFailedError("scores", said, passing=True, detail=said)

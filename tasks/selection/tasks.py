"""Prefect's edge of selection."""

import logging

from prefect import task
from prefect.cache_policies import NO_CACHE

from configs.errors import TeachbackError
from configs.settings import Settings
from infra.wiring import open_parts
from tasks.rounds.failures import in_our_words
from tasks.rounds.work import Claim, open_work
from tasks.selection.refresh import refresh_scores

log = logging.getLogger(__name__)


@task(name="refresh-scores", cache_policy=NO_CACHE)
def refresh_strategy_scores(held: Claim) -> None:
    """Score unlabelled images with the published model; the round is done, so a failure here only is a warning."""
    parts = open_parts(Settings())
    try:
        with in_our_words(parts, held):
            work = open_work(parts, held)
            refresh_scores(parts, work.experiment_id, work.dataset_id)
    except TeachbackError as error:
        log.warning("scores were not refreshed after job %s: %s", held.job_id, error)

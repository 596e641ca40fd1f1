"""Scores, brought up to date: score what the published models have not scored → report."""

from typing import Annotated

from prefect import flow
from pydantic import Field

from configs.specs.score import AnyMethod
from tasks.rounds.tasks import holding
from tasks.selection.tasks import refresh_all_scores, report_scores, score_for_job


@flow(name="refresh-scores", retries=0, persist_result=False, validate_parameters=True)
def refresh_scores(
    experiment: str = "",
    method: AnyMethod | None = None,
    job_id: str = "",
    attempt: Annotated[int, Field(ge=1)] = 1,
) -> None:
    """Score unlabelled images with the published models, so that the most useful ones are labelled first.

    It ends early while a round waits, which needs its place.

    Args:
        experiment: Name or id; left out, all that have published a model.
        method: How an image is scored; left out, the one that the experiment's strategy reads.
        job_id: Set by the system; leave it empty.
        attempt: Set by the system; leave it at 1.
    """
    if not job_id:
        report_scores(refresh_all_scores(experiment, method))
        return
    with holding(job_id, attempt) as work:
        if work is not None:
            score_for_job(work[0])

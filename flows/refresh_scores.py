"""Scores, brought up to date: score what the published models have not scored → report."""

from prefect import flow

from configs.specs.score import ScoringMethod
from tasks.selection.tasks import refresh_all_scores, report_scores


@flow(name="refresh-scores", retries=0, persist_result=False, validate_parameters=True)
def refresh_scores(experiment: str = "", method: ScoringMethod | None = None) -> None:
    """Score unlabelled images with the published models, so that the most useful ones are labelled first.

    It ends early while a round waits, which needs its place.

    Args:
        experiment: Name or id; left out, all that have published a model.
        method: How an image is scored; left out, the one that the experiment's strategy reads.
    """
    report_scores(refresh_all_scores(experiment, method))

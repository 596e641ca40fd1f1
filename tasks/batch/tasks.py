"""Prefect's edge of a batch of predictions."""

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.runtime import flow_run

from configs.specs.batch import BatchResult, BatchSpec
from tasks.batch import predict, start
from tasks.rounds.steps.failures import in_our_words
from tasks.rounds.steps.work import Claim, Lease
from tasks.rounds.tasks import parts


def adopt_batch(experiment: str, dataset: str, spec: BatchSpec, reason: str) -> str:
    """Make the job of a run that a person started."""
    return start.adopt_batch(parts(), str(flow_run.get_id()), experiment, dataset, spec, reason)


@task(name="predict", cache_policy=NO_CACHE)
def predict_images(held: Claim, lease: Lease) -> BatchResult:
    """Predict the images, and write the predictions."""
    with in_our_words(parts(), held):
        return predict.predict_batch(parts(), held, lease)


@task(name="finish", cache_policy=NO_CACHE)
def finish_batch(held: Claim, result: BatchResult) -> None:
    """Close the job."""
    with in_our_words(parts(), held):
        predict.finish_batch(parts(), held, result)

"""One training by itself, whether or not a loop runs: gather labels → fine-tune → evaluate → publish."""

from prefect import flow

from configs.specs.annotation import PublishPolicy
from configs.specs.train import TrainSpec
from flows.continual_learning_round import carry_out
from tasks.rounds.tasks import adopt


@flow(name="train", retries=0, persist_result=False, validate_parameters=True)
def train(
    experiment: str, publish: PublishPolicy = "none", train_spec: TrainSpec | None = None, reason: str = ""
) -> None:
    """Train once on all labels so far; a loop of the experiment goes on counting as if nothing had been.

    Args:
        experiment: Name or id of the experiment to train; `teachback experiments` lists them.
        publish: What happens with the result. none: kept; gate: published if it is better on the held-out patients;
            auto: published in any case; review: kept until a person publishes it.
        train_spec: How to train; left out, the bundle's own way, for an hour at most.
        reason: Why, for the record; shown as the job's description.
    """
    carry_out(adopt(experiment, publish, train_spec, reason, of_loop=False), attempt=1)

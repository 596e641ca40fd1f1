"""One training by itself, whether or not a loop runs: gather labels → fine-tune → evaluate → publish."""

from prefect import flow

from flows.continual_learning_round import ExperimentName, Publish, Reason, Training, carry_out
from tasks.rounds.tasks import adopt


@flow(name="train", retries=0, persist_result=False, validate_parameters=True)
def train(
    experiment: ExperimentName, publish: Publish = "none", train_spec: Training = None, reason: Reason = ""
) -> None:
    """Train once on all labels so far; a loop of the experiment goes on counting as if nothing had been."""
    carry_out(adopt(experiment, publish, train_spec, reason, of_loop=False), attempt=1)

"""One round: gather labels → fine-tune → evaluate → publish → refresh scores."""

from typing import Annotated

from prefect import flow
from pydantic import Field

from configs.specs.annotation import PublishPolicy
from configs.specs.train import TrainSpec
from tasks.rounds.tasks import (
    adopt,
    evaluate_versions,
    fine_tune,
    finish_round,
    gather_labels,
    holding,
    publish_challenger,
    report_round,
)
from tasks.selection.tasks import refresh_strategy_scores


@flow(name="continual-learning-round", retries=0, persist_result=False, validate_parameters=True)
def continual_learning_round(
    experiment: Annotated[str, Field(description="Name or id of the experiment to train.")] = "",
    publish: Annotated[PublishPolicy, Field(description="What happens with the result.")] = "gate",
    train_spec: Annotated[TrainSpec | None, Field(description="How to train; default: the bundle's own way.")] = None,
    reason: Annotated[str, Field(description="Why, for the record.")] = "",
    job_id: Annotated[str, Field(description="Set by the system.")] = "",
    attempt: Annotated[int, Field(description="Set by the system.")] = 1,
) -> None:
    """Train a challenger on all labels so far and publish it if it is good enough.

    Give an experiment to start a round by hand; the system itself gives `job_id` and `attempt`.
    """
    finished = False
    with holding(job_id or adopt(experiment, publish, train_spec, reason), attempt) as work:
        if work is None:
            return
        held, lease = work
        snapshot = gather_labels(held)
        challenger = fine_tune(held, lease, snapshot)
        evaluation = None
        if challenger is not None:
            evaluation = evaluate_versions(held, lease, snapshot, challenger)
            evaluation = publish_challenger(held, lease, snapshot, evaluation)
        finish_round(held, snapshot, evaluation)
        finished = True
    if finished:  # else the attempt was superseded or cancelled: the round is not ours to report
        report_round(held)
        refresh_strategy_scores(held)

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
    experiment: str = "",
    publish: PublishPolicy = "gate",
    train_spec: TrainSpec | None = None,
    reason: str = "",
    job_id: str = "",
    attempt: Annotated[int, Field(ge=1)] = 1,
) -> None:
    """Train a challenger on all labels so far and publish it if it is good enough.

    Give an experiment to start a round by hand; the system itself gives `job_id` and `attempt`.

    Args:
        experiment: Name or id of the experiment to train; `teachback experiments` lists them.
        publish: What happens with the result. gate: published if it is better on the held-out patients; auto:
            published in any case; review: kept until a person publishes it; none: kept.
        train_spec: How to train; left out, as the experiment's loop does, else as the bundle says; an hour at most.
        reason: Why, for the record; shown as the job's description.
        job_id: Set by the system; leave it empty.
        attempt: Set by the system; leave it at 1.
    """
    carry_out(job_id or adopt(experiment, publish, train_spec, reason), attempt)


def carry_out(job_id: str, attempt: int) -> None:
    """Take a round from its labels to a published model, unless somebody else does."""
    finished = False
    # Every step is fenced by this claim: a run that Prefect believes dead, and that is not, writes nothing.
    with holding(job_id, attempt) as work:
        if work is None:
            return
        held, lease = work
        snapshot = gather_labels(held)
        challenger = fine_tune(held, lease, snapshot)
        # A round without new training labels has no challenger: it ends as skipped, and says so.
        evaluation = None
        if challenger is not None:
            evaluation = evaluate_versions(held, lease, snapshot, challenger)
            evaluation = publish_challenger(held, lease, snapshot, evaluation)
        finish_round(held, snapshot, evaluation)
        finished = True
    if finished:  # else the attempt was superseded or cancelled: the round is not ours to report
        report_round(held)
        refresh_strategy_scores(held)

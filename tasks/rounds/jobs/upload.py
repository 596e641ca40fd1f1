"""A model version that somebody brought, and the job that judges it."""

from sqlalchemy.orm import Session

from configs.specs.round import RoundSpec
from infra.adapters.catalog.tables import Experiment, ModelVersion
from tasks.rounds.jobs.start import start_train
from tasks.rounds.records.version import version_of


def start_uploaded(session: Session, experiment: Experiment, weights: str, *, actor: str) -> ModelVersion:
    """Keep uploaded weights as a challenger, and start the job that evaluates it and asks the gate; call it in a unit.

    The same weights again join the job that waits to judge them.

    Args:
        session: A unit.
        experiment: Whose network they are of.
        weights: Their blob.
        actor: Who sent them.

    Raises:
        InvalidRequestError: If the experiment does not have exactly one training data set.
    """
    job = start_train(session, experiment, RoundSpec(uploaded=weights), actor=actor, name="uploaded weights")
    version = version_of(session, job, ModelVersion(weights=weights))
    session.refresh(version)
    return version

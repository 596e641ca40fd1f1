"""Asking for scores before the first round brings them: by methods that need no trained model."""

from sqlalchemy.orm import Session

from configs.specs.score import reads_scores
from infra.adapters.catalog import outbox
from infra.adapters.catalog.tables import Experiment
from infra.adapters.catalog.tables.base import new_id
from tasks.publishing.usable import is_usable

UNTRAINED = frozenset({"diversity", "strided"})
"""Methods that need no trained model."""


def ask_for_order(session: Session, experiment: Experiment) -> None:
    """Have an experiment's images ordered soon, if that needs no trained model; else its rounds see to it."""
    if reads_scores(experiment.strategy) and (experiment.strategy in UNTRAINED or not is_usable(session, experiment)):
        outbox.enqueue(session, outbox.OutboxKind.SCORES, experiment.id, {"run": new_id()})

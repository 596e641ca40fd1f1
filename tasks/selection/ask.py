"""Asking for scores before the first round brings them: by methods that need no trained model."""

from sqlalchemy.orm import Session

from configs.specs.score import ScoringMethod, is_of_app, reads_scores
from infra.adapters.catalog import outbox
from infra.adapters.catalog.tables import Experiment
from infra.adapters.catalog.tables.base import new_id
from tasks.publishing.usable import is_usable

_UNTRAINED = frozenset({"diversity", "strided"})


def needs_no_model(method: ScoringMethod) -> bool:
    """Say whether a method needs no trained model; an app's sees to that itself."""
    return method in _UNTRAINED or is_of_app(method)


def ask_for_order(session: Session, experiment: Experiment) -> None:
    """Have an experiment's images ordered soon, if that needs no trained model; else its rounds see to it."""
    if reads_scores(experiment.strategy) and (
        needs_no_model(experiment.strategy) or not is_usable(session, experiment)
    ):
        outbox.enqueue(session, outbox.OutboxKind.SCORES, experiment.id, {"run": new_id()})

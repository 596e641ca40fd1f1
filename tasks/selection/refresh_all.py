"""Bring the scores of every experiment, or of one, up to date with its published model."""

import logging

from pydantic import BaseModel, ConfigDict
from sqlalchemy import select

from configs.errors import NotFoundError, TeachbackError
from configs.specs.score import ScoringMethod
from infra.adapters.catalog.tables import Experiment
from infra.wiring import Parts
from tasks.rounds.jobs.adopt import experiment_named
from tasks.selection.refresh import refresh_experiment

log = logging.getLogger(__name__)


class Refreshed(BaseModel):
    """How many images of an experiment were scored; `error` says why they were not all."""

    model_config = ConfigDict(frozen=True)

    experiment: str
    scored: int = 0
    error: str = ""


def refresh_all(parts: Parts, experiment: str = "", method: ScoringMethod | None = None) -> list[Refreshed]:
    """Score what the published models have not scored, experiment by experiment; one that fails holds up no other.

    Args:
        parts: The adapters.
        experiment: Name or id; empty = all that have published a version.
        method: How; None = as each experiment's strategy reads.

    Raises:
        NotFoundError: If there is no such experiment.
        ConflictError: If several have the name.
    """
    with parts.catalog.read() as session:
        query = select(Experiment).where(
            Experiment.base.is_(False), Experiment.deleted_at.is_(None), Experiment.published_version.is_not(None)
        )
        wanted = [experiment_named(session, experiment)] if experiment else session.scalars(query).all()
    return [_refresh(parts, each.id, method) for each in wanted]


def _refresh(parts: Parts, experiment_id: str, method: ScoringMethod | None) -> Refreshed:
    try:
        return Refreshed(experiment=experiment_id, scored=refresh_experiment(parts, experiment_id, method))
    except NotFoundError:
        told = "Something that the scores need is no longer there."  # its own text may name an image
    except TeachbackError as error:
        told = parts.redactor.redact(str(error))
    log.warning("scores of experiment %s: %s", experiment_id, told)
    return Refreshed(experiment=experiment_id, error=told)

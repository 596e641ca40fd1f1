"""How much labelling each image would teach, as far as the published model has said."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select

from configs.specs.score import ScoringMethod
from infra.adapters.catalog import experiments
from infra.adapters.catalog.tables import Candidate, Experiment, Image
from infra.services.callers import Caller, Right, allow
from infra.wiring import Parts
from tasks.selection.refresh import method_of


@dataclass(frozen=True)
class Scores:
    """An experiment's scores by one method, the highest first, each with its image."""

    experiment: Experiment
    method: ScoringMethod
    rows: Sequence[tuple[Candidate, Image]]


def scores(parts: Parts, caller: Caller, experiment: str, method: ScoringMethod | None, limit: int) -> Scores:
    """Return scores of images that wait to be labelled, in the order in which the strategy would give them.

    Raises:
        NotFoundError: If the organisation has no such experiment.
    """
    allow(caller, Right.READ)
    with parts.catalog.read() as session:
        found = experiments.find(session, caller.org, experiment)
        chosen = method or method_of(found)
        query = (
            select(Candidate, Image)
            .join(Image, Image.id == Candidate.image_id)
            .where(Candidate.experiment_id == found.id, Candidate.method == chosen, Image.open.is_(True))
            .order_by(Candidate.score.desc(), Image.id)
            .limit(limit)
        )
        return Scores(found, chosen, [(candidate, image) for candidate, image in session.execute(query)])

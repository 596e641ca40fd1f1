"""How much labelling each image would teach, as far as the published model has said."""

from collections.abc import Sequence
from dataclasses import dataclass

from configs.specs.score import ScoringMethod
from infra.adapters.catalog import experiments
from infra.adapters.catalog.tables import Candidate, Experiment, Image
from infra.services.callers import Caller, Right, allow
from infra.wiring import Parts
from tasks.selection.orders import SCORED_IMAGES, asked
from tasks.selection.refresh import method_of
from tasks.selection.unspoken import vocabulary_of


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
        uses = experiments.uses(session, [found.id])[found.id]
        rows: list[tuple[Image, Candidate]] = []
        for dataset_id in {one for used in uses.values() for one in used}:  # one index each gives the order
            values = asked(dataset_id, found, chosen, vocabulary_of(session, dataset_id, found))
            rows += session.execute(SCORED_IMAGES.add_columns(Candidate).limit(limit), values).tuples()
        rows.sort(key=lambda row: (-row[1].score, row[0].id))
        return Scores(found, chosen, [(candidate, image) for image, candidate in rows[:limit]])

"""How much labelling each image would teach, as far as the published model has said."""

from collections.abc import Sequence
from dataclasses import dataclass

from configs.specs.score import ScoringMethod, is_of_labels
from infra.adapters.catalog import experiments
from infra.adapters.catalog.tables import Candidate, Experiment, Image
from infra.services.callers import Caller, Right, allow
from infra.wiring import Parts
from tasks.selection.orders import SCORED_IMAGES, SCORED_LABELS, asked
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

    By a method of labels they are of labelled images, the highest first, but of `dice` the lowest.

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
            query = SCORED_LABELS[chosen == "dice"] if is_of_labels(chosen) else SCORED_IMAGES
            rows += session.execute(query.add_columns(Candidate).limit(limit), values).tuples()
        sign = 1 if chosen == "dice" else -1
        rows.sort(key=lambda row: (sign * row[1].score, row[0].id))
        return Scores(found, chosen, [(candidate, image) for image, candidate in rows[:limit]])

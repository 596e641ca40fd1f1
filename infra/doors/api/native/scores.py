"""How much labelling each image would teach."""

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel

from configs.specs.score import AnyMethod
from infra.doors.api.deps import CallerDep, PartsDep
from infra.services.learning import scores as service

router = APIRouter(tags=["scores"])


class ScoreRow(BaseModel):
    """One image's score, larger = label it sooner; 0 to 1 by the methods of ours.

    Of a method that scores labels it is the label's: `dice` 0 to 1, `surface` in mm, `sum` in voxels. `by` says how it
    was come by: epistemic by `dropout`, or `flips` where the network has no dropout; diversity by the network's
    `encoder` or the intensities' `histogram`. A score of another version than the published one waits to be refreshed.
    """

    dataset_id: str
    image: str
    score: float
    by: str
    version: str
    published: bool


class ScoresResponse(BaseModel):
    """Scores of images that wait to be labelled, the highest first."""

    experiment_id: str
    experiment: str
    method: AnyMethod
    scores: list[ScoreRow]


@router.get("/scores")
def list_scores(
    parts: PartsDep,
    caller: CallerDep,
    experiment: Annotated[str, Query(description="Id or name.")],
    method: Annotated[AnyMethod | None, Query(description="Default: the one that the strategy reads.")] = None,
    limit: Annotated[int, Query(ge=1, le=10_000)] = 100,
) -> ScoresResponse:
    """List scores: of images that wait to be labelled, in the order in which they would be given; or of labels."""
    found = service.scores(parts, caller, experiment, method, limit)
    rows = [
        ScoreRow(
            dataset_id=image.dataset_id,
            image=image.key,
            score=candidate.score,
            by=candidate.by,
            version=candidate.version_id,
            published=candidate.version_id == found.experiment.published_version,
        )
        for candidate, image in found.rows
    ]
    return ScoresResponse(
        experiment_id=found.experiment.id, experiment=found.experiment.name, method=found.method, scores=rows
    )

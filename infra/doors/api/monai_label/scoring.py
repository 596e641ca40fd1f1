"""`/scoring` of this dialect: how much labelling each image would teach, or how good each label is; a task is a job.

The same request again joins what waits or runs. Rounds and the hourly run score without being asked.
"""

from typing import Annotated, Any

from fastapi import APIRouter, Body, Query
from pydantic import BaseModel, ConfigDict

from configs.errors import NotFoundError
from configs.specs.score import is_of_app, methods
from infra.adapters.catalog.tables import Dataset
from infra.doors.api.deps import CallerDep, PartsDep
from infra.doors.api.monai_label.scope import DatasetName
from infra.doors.api.monai_label.tasks import Started, Task, TaskQuery, refuse_sync, started
from infra.services.callers import Caller
from infra.services.data import datasets
from infra.services.learning import trainings
from infra.services.learning.jobs import Asked
from infra.wiring import Parts

router = APIRouter(prefix="/scoring", tags=["MONAI Label: active learning"])
_ACTION: trainings.Action = "scoring"
ParamsBody = Annotated[dict[str, Any] | None, Body()]


class ScoringParams(BaseModel):
    """What a client says of a scoring: whose model; its other words are for methods that read none of them here."""

    model_config = ConfigDict(extra="ignore")

    model: str = ""


@router.get("", response_model_exclude_none=True)
@router.get("/", include_in_schema=False, response_model_exclude_none=True)
def get_scoring(
    dataset: DatasetName, parts: PartsDep, caller: CallerDep, query: Annotated[TaskQuery, Query()]
) -> Task | list[Task]:
    """Return the scoring that runs, else the newest that was asked for; with `all` the newest hundred."""
    row = datasets.find(parts, caller, dataset)
    return query.shown(trainings.newest(parts, caller, row, query.most, action=_ACTION), "Scoring")


@router.post("/{method}", response_model_exclude_none=True)
def start_scoring(
    dataset: DatasetName,
    method: str,
    parts: PartsDep,
    caller: CallerDep,
    body: ParamsBody = None,
    run_sync: bool = False,
) -> Task:
    """Have the published model score what it has not; `model` names the experiment where there are several."""
    refuse_sync(run_sync)
    return _start(parts, caller, datasets.find(parts, caller, dataset), method, body or {})


@router.post("", include_in_schema=False)
@router.post("/", include_in_schema=False)
def start_scorings(
    dataset: DatasetName, parts: PartsDep, caller: CallerDep, body: ParamsBody = None, run_sync: bool = False
) -> dict[str, Started]:
    """Have it score by every method."""
    refuse_sync(run_sync)
    row, said = datasets.find(parts, caller, dataset), body or {}
    return {method: started(_start, parts, caller, row, method, said) for method in methods()}


@router.delete("", response_model_exclude_none=True)
@router.delete("/", include_in_schema=False, response_model_exclude_none=True)
def stop_scoring(dataset: DatasetName, parts: PartsDep, caller: CallerDep) -> Task | None:
    """Stop the scoring that runs on the data set, or waits to; scores that are kept stay."""
    stopped = trainings.stop(parts, caller, datasets.find(parts, caller, dataset), action=_ACTION)
    return None if stopped is None else Task.of(stopped)


def _start(parts: Parts, caller: Caller, row: Dataset, method: str, body: dict[str, Any]) -> Task:
    if method not in methods() and not is_of_app(method):
        raise NotFoundError("scoring method", method, methods())
    said = ScoringParams.model_validate(body)
    asked = Asked(specs={**body, "method": method})
    return Task.of(trainings.score(parts, caller, row, method, said.model, asked))

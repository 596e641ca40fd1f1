"""`/batch/infer` of this dialect: predictions of many images; a task is a `batchinfer` job of the data set."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, Query

from configs.specs.batch import BatchSpec, Which
from infra.doors.api.deps import CallerDep, PartsDep
from infra.doors.api.monai_label.scope import DatasetName
from infra.doors.api.monai_label.tasks import Task, TaskQuery, refuse_sync
from infra.services.data import datasets
from infra.services.learning import trainings
from infra.services.learning.jobs import Asked

router = APIRouter(prefix="/batch/infer", tags=["MONAI Label: inference"])
_ACTION: trainings.Action = "batchinfer"
Images = Literal["all", "labeled", "unlabeled"]
_WHICH: dict[Images, Which] = {"all": "all", "labeled": "labelled", "unlabeled": "unlabelled"}


@router.get("", response_model_exclude_none=True)
@router.get("/", include_in_schema=False, response_model_exclude_none=True)
def get_batch(
    dataset: DatasetName, parts: PartsDep, caller: CallerDep, query: Annotated[TaskQuery, Query()]
) -> Task | list[Task]:
    """Return the batch that runs, else the newest; with `all` the newest hundred."""
    row = datasets.find(parts, caller, dataset)
    return query.shown(trainings.newest(parts, caller, row, query.most, action=_ACTION), "Batch_infer")


@router.post("/{model}", response_model_exclude_none=True)
def start_batch(
    dataset: DatasetName,
    model: str,
    parts: PartsDep,
    caller: CallerDep,
    body: Annotated[dict[str, Any] | None, Body()] = None,
    images: Images = "all",
    run_sync: bool = False,
) -> Task:
    """Have images predicted with the published version; they become files, as a `batchinfer` job leaves them."""
    refuse_sync(run_sync)
    row = datasets.find(parts, caller, dataset)
    spec = BatchSpec(dataset_id=row.id, which=_WHICH[images])
    return Task.of(trainings.predict(parts, caller, row, model, spec, Asked(specs={**(body or {}), "images": images})))


@router.delete("", response_model_exclude_none=True)
@router.delete("/", include_in_schema=False, response_model_exclude_none=True)
def stop_batch(dataset: DatasetName, parts: PartsDep, caller: CallerDep) -> Task | None:
    """Stop the batch that runs on the data set, or waits to."""
    stopped = trainings.stop(parts, caller, datasets.find(parts, caller, dataset), action=_ACTION)
    return None if stopped is None else Task.of(stopped)

"""`/train` of this dialect: a trainer is an experiment of the data set, a task one of its trainings.

The same request again joins the one that waits, and what was trained is published through the gate, unless told else.
"""

from typing import Annotated, Any

from fastapi import APIRouter, Body, Query
from pydantic import BaseModel, ConfigDict, Field

from configs.specs.annotation import PublishPolicy
from configs.specs.round import RoundSpec
from configs.specs.train import TrainSpec
from infra.adapters.catalog.tables import Dataset
from infra.doors.api.deps import CallerDep, PartsDep
from infra.doors.api.monai_label.scope import DatasetName
from infra.doors.api.monai_label.tasks import Started, Task, TaskQuery, refuse_sync, started
from infra.services.callers import Caller
from infra.services.data import datasets
from infra.services.learning import by_dataset, trainings
from infra.services.learning.jobs import Asked
from infra.wiring import Parts

router = APIRouter(prefix="/train", tags=["MONAI Label: train"])
# What the original's clients send along and its own trainer reads; ours is told by the bundle.
_ITS_OWN = frozenset(
    {
        "model",
        "name",
        "pretrained",
        "device",
        "val_split",
        "val_batch_size",
        "multi_gpu",
        "gpus",
        "dataset",
        "dataloader",
    }
    | {"tracking", "tracking_uri", "tracking_experiment_name", "run_id", "model_filename", "client_id", "logging"}
)


class TrainParams(BaseModel):
    """What a client says of a training: the original's words, our fields, and overrides of the bundle by `#` path."""

    model_config = ConfigDict(extra="allow")

    max_epochs: Annotated[int, Field(ge=1)] | None = None
    train_batch_size: Annotated[int, Field(ge=1)] | None = None
    early_stop_patience: int | None = Field(default=None, description="Less than one: none.")
    publish: PublishPolicy = "gate"

    def to_spec(self) -> RoundSpec:
        """Return what the service is asked for."""
        others = {name: value for name, value in (self.model_extra or {}).items() if name not in _ITS_OWN}
        patience = self.early_stop_patience if (self.early_stop_patience or 0) > 0 else None
        words = {"epochs": self.max_epochs, "batch_size": self.train_batch_size, "patience": patience}
        ours = {name: value for name, value in words.items() if value is not None}
        return RoundSpec(train=TrainSpec.from_request({**ours, **others}), publish=self.publish)


ParamsBody = Annotated[dict[str, Any] | None, Body()]


@router.get("", response_model_exclude_none=True)
@router.get("/", include_in_schema=False, response_model_exclude_none=True)
def get_training(
    dataset: DatasetName, parts: PartsDep, caller: CallerDep, query: Annotated[TaskQuery, Query()]
) -> Task | list[Task]:
    """Return the training that runs, else the newest; with `all` the newest hundred, rounds of loops among them."""
    row = datasets.find(parts, caller, dataset)
    return query.shown(trainings.newest(parts, caller, row, query.most), "Train")


@router.post("/{model}", response_model_exclude_none=True)
def start_training(
    dataset: DatasetName,
    model: str,
    parts: PartsDep,
    caller: CallerDep,
    body: ParamsBody = None,
    run_sync: bool = False,
    enqueue: bool = False,  # noqa: ARG001 - the dialect's: here a training always waits its turn
) -> Task:
    """Train an experiment of the data set on all labels so far; publishes through the gate unless told otherwise."""
    refuse_sync(run_sync)
    return _start(parts, caller, datasets.find(parts, caller, dataset), model, body or {})


@router.post("", include_in_schema=False)
@router.post("/", include_in_schema=False)
def start_trainings(
    dataset: DatasetName, parts: PartsDep, caller: CallerDep, body: ParamsBody = None, run_sync: bool = False
) -> dict[str, Started]:
    """Train every experiment of the data set; what the body says under a trainer's name is for that one."""
    refuse_sync(run_sync)
    row, asked = datasets.find(parts, caller, dataset), body or {}
    names = by_dataset.trainers(parts, caller, row)
    common = {name: value for name, value in asked.items() if name not in names}
    return {name: started(_start, parts, caller, row, name, {**common, **_own(asked.get(name))}) for name in names}


@router.delete("", response_model_exclude_none=True)
@router.delete("/", include_in_schema=False, response_model_exclude_none=True)
def stop_training(dataset: DatasetName, parts: PartsDep, caller: CallerDep) -> Task | None:
    """Stop what trains on the data set, or waits to; a loop's round only where there is nothing else."""
    stopped = trainings.stop(parts, caller, datasets.find(parts, caller, dataset))
    return None if stopped is None else Task.of(stopped)


def _start(parts: Parts, caller: Caller, row: Dataset, model: str, body: dict[str, Any]) -> Task:
    spec = TrainParams.model_validate(body).to_spec()
    return Task.of(trainings.start(parts, caller, row, model, spec, Asked(specs=body)))


def _own(said: Any) -> dict[str, Any]:
    return said if isinstance(said, dict) else {}

"""`/info/` of this dialect: which models there are for a data set, and how far its labelling is."""

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

from fastapi import APIRouter
from fastapi.responses import HTMLResponse
from pydantic import BaseModel, Field

from configs.kinds import LabelKind
from configs.specs.score import methods, strategies
from configs.states import TERMINAL
from infra.doors.api.deps import CallerDep, PartsDep
from infra.doors.api.monai_label.scope import DatasetName
from infra.doors.api.pages import docs
from infra.services.data import contents, datasets
from infra.services.learning import by_dataset, trainings
from infra.services.learning.by_dataset import Model
from infra.services.learning.scribbles import DESCRIPTIONS, METHODS
from infra.services.learning.trainings import Training
from tasks.bundles.orders import methods_in, strategies_in
from tasks.rounds.records.result import RoundResult

router = APIRouter(tags=["MONAI Label: info"])
_TYPES: dict[LabelKind, str] = {"mask": "segmentation", "class": "classification", "boxes": "detection"}
# OHIF and Slicer offer a model's prompts by its type.
_TYPES_BY_ARCH = {"monai_annotation": "deepedit", "monai_vista3d": "vista3d"}


class ModelInfo(BaseModel):
    """One model: an experiment of the data set. `labels`: name to value in its label maps."""

    type: str
    labels: dict[str, int]
    dimension: int = 3
    description: str
    config: dict[str, Any] = Field(default_factory=dict)
    version: str

    @classmethod
    def of(cls, model: Model) -> "ModelInfo":
        """Show one experiment as a model."""
        row = model.experiment
        labels = {str(name): int(index) for index, name in row.labels.items()}
        kind = _TYPES_BY_ARCH.get(row.arch, _TYPES.get(row.learns, row.learns))  # type: ignore[call-overload]  # a column is text
        return cls(type=kind, labels=labels, description=row.description, version=model.bundle.version)


_SCRIBBLES = {
    name: ModelInfo(type="scribbles", labels={}, description=DESCRIPTIONS[method], version=version("teachback"))
    for name, method in METHODS.items()
}


class TrainerInfo(BaseModel):
    """One trainer: an experiment whose bundle can train."""

    description: str
    config: dict[str, Any] = Field(default_factory=dict)


class StrategyInfo(BaseModel):
    """One order in which images come."""

    description: str


class TrainStats(BaseModel):
    """How a trainer's newest training goes, or went. `best_metric`: 0..1; without it nothing was measured yet."""

    epoch: int
    total_epochs: int
    best_metric: float | None
    total_time: str | None
    current_time: str | None

    @classmethod
    def of(cls, training: Training) -> "TrainStats":
        """Show one training; of one that has ended its `total_time`."""
        job, result = training.job, RoundResult.model_validate(training.job.result)
        seconds = str(round(job.modified_at - job.created_at))
        ended = job.status in TERMINAL
        return cls(
            epoch=result.epoch,
            total_epochs=result.max_epoch,
            best_metric=result.key_metric,
            total_time=seconds if ended else None,
            current_time=None if ended else seconds,
        )


class DatastoreInfo(BaseModel):
    """How many images there are, how many are labelled, and how many have a label under each tag."""

    total: int
    completed: int
    label_tags: dict[str, int]


class Info(BaseModel):
    """What a client shows before anything else. It never has a `config`: Slicer refuses a server that has one."""

    name: str
    description: str
    version: str
    labels: list[str]
    models: dict[str, ModelInfo]
    trainers: dict[str, TrainerInfo]
    strategies: dict[str, StrategyInfo]
    scoring: dict[str, StrategyInfo]
    train_stats: dict[str, TrainStats]
    datastore: DatastoreInfo


@router.get("/", include_in_schema=False)
def start() -> HTMLResponse:
    """Return the page that describes the API: clients look here whether there is a server."""
    return docs()


@router.get("/info", response_model_exclude_none=True)
@router.get("/info/", include_in_schema=False, response_model_exclude_none=True)
def info(dataset: DatasetName, parts: PartsDep, caller: CallerDep) -> Info:
    """Describe a data set: its models, trainers and strategies, and how far its labelling is."""
    row = datasets.find(parts, caller, dataset)
    mine = by_dataset.models(parts, caller, row)
    names = dict.fromkeys(str(name) for model in mine.values() for name in model.experiment.labels.values())
    learning = by_dataset.trainers(parts, caller, row)
    counts = contents.counts(parts, caller, row.id)
    return Info(
        name=row.name,
        description=row.description,
        version=version("teachback"),
        labels=list(names),
        models={**{name: ModelInfo.of(model) for name, model in mine.items()}, **_SCRIBBLES},
        trainers={name: TrainerInfo(description=model.experiment.description) for name, model in learning.items()},
        strategies=_described(strategies(), *(strategies_in(model.bundle) for model in mine.values())),
        scoring=_described(methods(), *(methods_in(model.bundle) for model in mine.values())),
        train_stats=_stats(trainings.newest(parts, caller, row, trainings.MOST)),
        datastore=DatastoreInfo(total=counts.total, completed=counts.labelled, label_tags=counts.tags),
    )


def _described(*found: Mapping[str, str]) -> dict[str, StrategyInfo]:
    return {name: StrategyInfo(description=said) for each in found for name, said in each.items()}


def _stats(found: Sequence[Training]) -> dict[str, TrainStats]:
    """Return the newest training of each trainer: a client shows the first."""
    newest: dict[str, Training] = {}
    for training in found:
        newest.setdefault(training.trainer, training)
    return {name: TrainStats.of(training) for name, training in newest.items()}

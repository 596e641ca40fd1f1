"""`/info/` of this dialect: which models there are for a data set, and how far its labelling is."""

from importlib.metadata import version
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, Field

from configs.specs.score import SCORED, STRATEGIES
from infra.doors.api.deps import CallerDep, PartsDep
from infra.services.data import datasets
from infra.services.learning import experiments
from infra.services.learning.experiments import ExperimentView
from infra.services.listing import Page
from infra.services.operating import status

router = APIRouter(tags=["MONAI Label: info"])


class ModelInfo(BaseModel):
    """One model: an experiment of the data set. `labels`: name to value in its label maps."""

    type: str = "segmentation"
    labels: dict[str, int]
    dimension: int = 3
    description: str
    config: dict[str, Any] = Field(default_factory=dict)
    version: str

    @classmethod
    def of(cls, view: ExperimentView) -> "ModelInfo":
        """Show one experiment as a model."""
        labels = {str(name): int(index) for index, name in view.row.labels.items()}
        return cls(labels=labels, description=view.row.description, version=view.bundle.version)


class TrainerInfo(BaseModel):
    """One trainer: an experiment whose bundle can train."""

    description: str
    config: dict[str, Any] = Field(default_factory=dict)


class StrategyInfo(BaseModel):
    """One order in which images come."""

    description: str


class DatastoreInfo(BaseModel):
    """How many images there are, and how many are labelled."""

    total: int
    completed: int
    label_tags: dict[str, int] = Field(default_factory=dict)


class Info(BaseModel):
    """What a client shows before anything else."""

    name: str
    description: str
    version: str
    labels: list[str]
    models: dict[str, ModelInfo]
    trainers: dict[str, TrainerInfo]
    strategies: dict[str, StrategyInfo]
    scoring: dict[str, StrategyInfo]
    train_stats: dict[str, dict[str, Any]]
    datastore: DatastoreInfo


@router.get("/info")
@router.get("/info/", include_in_schema=False)
def info(dataset: str, parts: PartsDep, caller: CallerDep) -> Info:
    """Describe a data set: its models, trainers and strategies, and how far its labelling is."""
    row = datasets.find(parts, caller, dataset)
    found = experiments.listed(parts, caller, Page(), bases=False).rows
    mine = {view.row.name: view for view in found if row.id in {one for used in view.uses.values() for one in used}}
    progress = status.progress(parts, caller, row.id)
    names = dict.fromkeys(str(name) for view in mine.values() for name in view.row.labels.values())
    strategies = {str(name): StrategyInfo(description=said) for name, said in STRATEGIES.items()}
    return Info(
        name=row.name,
        description=row.description,
        version=version("teachback"),
        labels=list(names),
        models={name: ModelInfo.of(view) for name, view in mine.items()},
        trainers={name: TrainerInfo(description=view.row.description) for name, view in mine.items()},
        strategies=strategies,
        scoring={name: strategies[name] for name in sorted(SCORED)},
        train_stats={},
        datastore=DatastoreInfo(total=progress.total, completed=progress.labelled),
    )

"""What a job's `specs` look like, for clients that fill in a form: literal defaults, as they always were."""

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel

from configs.errors import NotFoundError
from infra.doors.api.deps import CallerDep, PartsDep
from infra.doors.api.monai_cloud.words import DatasetId, ExperimentId
from infra.services.data import datasets
from infra.services.learning import experiments
from infra.services.learning.archs import actions_of

router = APIRouter(tags=["specs"])
_OF_DATASETS: dict[str, dict[str, Any]] = {
    "nextimage": {"limit": 1},
    "cacheimage": {"image": "", "ttl": 3600},
    "notify": {"added": [], "updated": [], "removed": []},
    "skip": {"image": "", "reason": ""},
    "queue": {"limit": 1000},
    "review": {"label": "", "approve": False, "reason": ""},
    "agreement": {"image": "", "limit": 20},
}
_OF_INFERENCE: dict[str, Any] = {"image": "", "dataset_id": "", "bundle_params": {}}


class Formats(BaseModel):
    """Which formats a type of data set can have."""

    dataset_formats: list[str]
    accepted_dataset_intents: list[str]


class Schema(BaseModel):
    """A job's specs with their defaults."""

    default: dict[str, Any]


@router.get("/datasets:get_formats")
def get_formats() -> Formats:
    """Return the one format that there is, whatever the type."""
    return Formats(dataset_formats=["monai"], accepted_dataset_intents=[])


@router.get("/datasets/{dataset_id}/specs/{action}/schema")
def get_dataset_schema(dataset_id: DatasetId, action: str, parts: PartsDep, caller: CallerDep) -> Schema:
    """Return the specs of an action of a data set."""
    datasets.get(parts, caller, dataset_id)
    if action not in _OF_DATASETS:
        raise NotFoundError("action", action, known=_OF_DATASETS)
    return Schema(default=_OF_DATASETS[action])


@router.get("/experiments/{experiment_id}/specs/{action}/schema")
@router.get("/experiments/{experiment_id}/specs/{action}/schema:base")
def get_experiment_schema(
    experiment_id: ExperimentId, action: str, parts: PartsDep, caller: CallerDep
) -> dict[str, Any]:
    """Return the specs of an action of an experiment: those of `inference`, else the bundle's own defaults."""
    offered = actions_of(experiments.get(parts, caller, experiment_id).bundle)
    if action not in offered:
        raise NotFoundError("action", action, known=offered)
    return _OF_INFERENCE if action == "inference" else {"default": {}}

"""What the dialects lack for data sets: how they are, and listing the store again."""

from typing import Any

from fastapi import APIRouter
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

from configs.specs.dataset import LabelSettings
from infra.doors.api.deps import CallerDep, PartsDep
from infra.services.data import dataset_summary, datasets, manifests
from infra.services.data.dataset_summary import DatasetSummary
from tasks.images.sync import SyncReport

router = APIRouter(tags=["datasets"])
_MANIFEST: dict[int | str, dict[str, Any]] = {200: {"content": {"application/json": {"schema": {"type": "object"}}}}}


class SummaryResponse(BaseModel):
    """One data set. `skipped` counts what nobody is asked to label, by what it is; it is not among `images`.

    `labels_left_out` counts labels of its source that nothing learns from, by why.
    """

    id: str
    name: str
    kind: str
    address: str
    state: str
    state_reason: str
    images: int
    waiting: int
    skipped: dict[str, int]
    labels_left_out: dict[str, int]
    label_settings: dict[str, str | int | bool]

    @classmethod
    def of(cls, found: DatasetSummary) -> "SummaryResponse":
        """Show one data set."""
        row = found.dataset
        return cls(
            id=row.id,
            name=row.name,
            kind=str(row.spec.get("kind", "")),
            address=str(row.spec.get("url", "")),
            state=row.state,
            state_reason=row.state_reason,
            images=found.images,
            waiting=found.waiting,
            skipped=found.skipped,
            labels_left_out=found.labels_left_out,
            label_settings=LabelSettings.model_validate(row.spec).label_settings(),
        )


@router.get("/datasets")
def list_datasets(parts: PartsDep, caller: CallerDep) -> list[SummaryResponse]:
    """List the organisation's data sets: whether their stores answer, and how many images there are."""
    return [SummaryResponse.of(found) for found in dataset_summary.summaries(parts, caller)]


@router.get("/datasets/{dataset}:manifest", response_class=StreamingResponse, responses=_MANIFEST)
def get_manifest(dataset: str, parts: PartsDep, caller: CallerDep) -> StreamingResponse:
    """Return a copy of an object store's manifest with the labels that its images have by now."""
    return StreamingResponse(manifests.exported(parts, caller, dataset), media_type="application/json")


@router.get("/datasets/{dataset}")
def get_dataset(dataset: str, parts: PartsDep, caller: CallerDep) -> SummaryResponse:
    """Return how one data set is, by its id or name."""
    return SummaryResponse.of(dataset_summary.summary(parts, caller, dataset))


@router.post("/datasets/{dataset}:sync")
def sync(dataset: str, parts: PartsDep, caller: CallerDep) -> SyncReport:
    """List a data set's store again, by the data set's id or name."""
    return datasets.refresh(parts, caller, datasets.find(parts, caller, dataset).id)

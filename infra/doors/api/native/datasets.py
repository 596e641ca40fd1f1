"""What the dialects lack for data sets: listing the store again."""

from fastapi import APIRouter

from infra.doors.api.deps import CallerDep, PartsDep
from infra.services import datasets
from tasks.images.sync import SyncReport

router = APIRouter(tags=["datasets"])


@router.post("/datasets/{dataset}:sync")
def sync(dataset: str, parts: PartsDep, caller: CallerDep) -> SyncReport:
    """List a data set's store again, by the data set's id or name."""
    return datasets.refresh(parts, caller, datasets.find(parts, caller, dataset).id)

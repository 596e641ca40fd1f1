"""`/datasets` of this dialect."""

from http import HTTPStatus

from fastapi import APIRouter

from infra.adapters.catalog.tables import Dataset
from infra.doors.api.deps import CallerDep, PageDep, PartsDep
from infra.doors.api.monai_cloud.dataset_schemas import DatasetList, DatasetPatch, DatasetRequest, DatasetResponse
from infra.doors.api.monai_cloud.words import DatasetId, ShapeDep
from infra.services.data import datasets
from infra.services.data.datasets import ShownDataset
from infra.services.listing import keeps

router = APIRouter(prefix="/datasets", tags=["datasets"])


@router.post("", status_code=HTTPStatus.CREATED)
def create_dataset(body: DatasetRequest, parts: PartsDep, caller: CallerDep) -> DatasetResponse:
    """Make a data set of a DICOMweb server, an object store's manifest or, on a single machine, a folder."""
    return DatasetResponse.of(datasets.create(parts, caller, body.to_new()))


@router.get("")
def list_datasets(
    parts: PartsDep,
    caller: CallerDep,
    page: PageDep,
    shape: ShapeDep,
    type: str | None = None,  # noqa: A002 - the dialect's name
    format: str | None = None,  # noqa: A002 - the dialect's name
) -> list[DatasetResponse] | DatasetList:
    """List the organisation's data sets."""

    def keep(row: Dataset) -> bool:
        """Filter by what is shown of a data set, which callers know it by."""
        shown = ShownDataset.model_validate(row.shown)
        return keeps(type, shown.type) and keeps(format, shown.format)

    found = datasets.listed(parts, caller, page, keep=keep)
    rows, info = [DatasetResponse.of(row) for row in found.rows], shape.tell_total(found.total)
    return DatasetList(datasets=rows, pagination_info=info) if shape.wrapped else rows


@router.get("/{dataset_id}")
def get_dataset(dataset_id: DatasetId, parts: PartsDep, caller: CallerDep) -> DatasetResponse:
    """Return one data set."""
    return DatasetResponse.of(datasets.get(parts, caller, dataset_id))


@router.patch("/{dataset_id}")
@router.put("/{dataset_id}")
def change_dataset(dataset_id: DatasetId, body: DatasetPatch, parts: PartsDep, caller: CallerDep) -> DatasetResponse:
    """Change the fields that the body names, and no other."""
    return DatasetResponse.of(datasets.change(parts, caller, dataset_id, body.to_change()))


@router.delete("/{dataset_id}")
def delete_dataset(dataset_id: DatasetId, parts: PartsDep, caller: CallerDep) -> DatasetResponse:
    """Hide a data set that no experiment uses."""
    return DatasetResponse.of(datasets.remove(parts, caller, dataset_id))

"""Labels that were made elsewhere come in, and what a data set trains with goes out."""

from typing import Annotated, Literal

from fastapi import APIRouter, Form, Query, UploadFile
from fastapi.responses import FileResponse

from infra.doors.api.deps import CallerDep, PartsDep
from infra.services.data import carriage
from infra.services.data.carriage import Export
from tasks.labels.forms.convert import CocoImage
from tasks.labels.incoming.save import SavedLabel

router = APIRouter(tags=["labels"])
_Key = Annotated[str, Form(max_length=1024)]


@router.post("/datasets/{dataset}/labels:import")
def import_label(
    dataset: str, parts: PartsDep, caller: CallerDep, label: UploadFile, name: _Key = "", image: _Key = ""
) -> SavedLabel:
    """Take in a label that was made elsewhere: it trains, and never counts.

    Without `image` it speaks about the image that it refers to, else about the one of its name.
    """
    return carriage.carry_in(parts, caller, dataset, label.file, name or label.filename or "", image)


@router.get("/datasets/{dataset}:export")
def export(
    dataset: str,
    parts: PartsDep,
    caller: CallerDep,
    experiment: Annotated[str | None, Query(description="Whose sides and labels; default: the newest's.")] = None,
) -> Export:
    """List the label that each image would train with, its side, and where it comes from."""
    return carriage.listed(parts, caller, dataset, experiment)


@router.get("/labels/{label}/as/{form}", response_class=FileResponse)
def get_label_as(label: str, form: Literal["nifti", "seg"], parts: PartsDep, caller: CallerDep) -> FileResponse:
    """Return a mask as NIfTI or DICOM SEG on its image's grid; a class or boxes as their JSON."""
    found = carriage.carried(parts, caller, label, form)
    return FileResponse(found.path, media_type="application/octet-stream", filename=found.name)


@router.get("/labels/{label}/as-coco")
def get_label_as_coco(label: str, parts: PartsDep, caller: CallerDep) -> CocoImage:
    """Return what a label says of a picture, as COCO says it."""
    return carriage.as_coco(parts, caller, label)

"""Images in `/datastore` of this dialect: out, looked for, and what is said of them."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response
from fastapi.responses import FileResponse
from pydantic import BaseModel, ConfigDict, Field

from infra.doors.api.deps import CallerDep, PartsDep
from infra.doors.api.monai_label.datastore import as_file
from infra.doors.api.monai_label.datastore_list import image_info
from infra.doors.api.monai_label.label_info import FIELDS, Info
from infra.doors.api.monai_label.scope import DatasetName, ImageId
from infra.doors.api.monai_label.sent_files import SentFiles, body_of
from infra.services.data import contents, datasets, images, new_images
from infra.services.data.uploads import Sent
from tasks.selection.skip import MAX_REASON_CHARS

router = APIRouter(prefix="/datastore/image", tags=["MONAI Label: datastore"])
# Where the original's own client puts and deletes images.
by_hidden_route = APIRouter(prefix="/datastore")
_FIELD = "file"


class ImageInfo(BaseModel):
    """What is known of an image; nothing of one that is not there."""

    model_config = ConfigDict(extra="allow")

    path: str | None = None


class PutImage(BaseModel):
    """An image that was added, by its id."""

    image: str


class SentInfo(BaseModel):
    """What of a client's words does something: why nobody is to label it; null or empty = somebody may again."""

    model_config = ConfigDict(extra="ignore")

    skip: Annotated[str, Field(max_length=MAX_REASON_CHARS)] | None = None


@router.get("", response_class=FileResponse)
def get_image(
    dataset: DatasetName, parts: PartsDep, caller: CallerDep, image: ImageId, client_id: str = ""
) -> FileResponse:
    """Return an image as NIfTI, and keep the caller's lease of it alive."""
    row = datasets.find(parts, caller, dataset)
    return as_file(images.fetch(parts, caller, row.id, image, client_id=client_id))


@router.head("")
def has_image(
    dataset: DatasetName,
    parts: PartsDep,
    caller: CallerDep,
    image: ImageId,
    check_sum: Annotated[str, Query(max_length=200, description="ALGORITHM:hex; hex alone is SHA256.")] = "",
) -> Response:
    """Say whether there is such an image, and with a checksum whether its file in the store is that one."""
    row = datasets.find(parts, caller, dataset)
    images.check(parts, caller, row.id, image, check_sum)
    return Response()


@router.delete("")
@by_hidden_route.delete("", include_in_schema=False)
@by_hidden_route.delete("/", include_in_schema=False)
def delete_image(
    dataset: DatasetName,
    parts: PartsDep,
    caller: CallerDep,
    id: ImageId,  # noqa: A002 - the dialect's name
) -> dict[str, str]:
    """Hide an image: nobody is to label it. It stays in its store, which is the user's, and can be shown again."""
    images.hide(parts, caller, datasets.find(parts, caller, dataset).id, id)
    return {}


@router.put("", openapi_extra=body_of(_FIELD))
@by_hidden_route.put("", include_in_schema=False)
@by_hidden_route.put("/", include_in_schema=False)
def put_image(
    dataset: DatasetName,
    parts: PartsDep,
    caller: CallerDep,
    sent: Annotated[list[Sent], Depends(SentFiles(_FIELD))],
    image: Annotated[str, Query(max_length=1024, description="Its id; without one, as its file is called.")] = "",
) -> PutImage:
    """Add an image to the data set's folder or DICOMweb server: one file, a zip of a DICOM series, or its files."""
    row = datasets.find(parts, caller, dataset)
    return PutImage(image=new_images.add(parts, caller, row.id, sent, image))


@router.get("/info", response_model_exclude_none=True)
def get_image_info(dataset: DatasetName, parts: PartsDep, caller: CallerDep, image: ImageId) -> ImageInfo:
    """Return what is known of an image; `path` is its id, or its file where only this machine is let in."""
    found = contents.one(parts, caller, datasets.find(parts, caller, dataset).id, image)
    if found is None:
        return ImageInfo()
    path = images.path_of(parts, caller, found.image)
    return ImageInfo.model_validate({**image_info(found).model_dump(), "path": path})


@router.put("/info")
def put_image_info(dataset: DatasetName, parts: PartsDep, caller: CallerDep, image: ImageId, info: Info) -> None:
    """Add to what is said of an image; with `skip` nobody is to label it, and without a reason somebody may again."""
    row, said = datasets.find(parts, caller, dataset), FIELDS.validate_json(info)
    more = {name: value for name, value in said.items() if name != "skip"}
    if "skip" in said:
        _skip(parts, caller, row.id, image, SentInfo.model_validate(said).skip)
    if more:
        contents.say(parts, caller, row.id, image, more)


def _skip(parts: PartsDep, caller: CallerDep, dataset_id: str, image: str, reason: str | None) -> None:
    if reason:
        images.skip(parts, caller, dataset_id, image, reason)
    else:
        images.clear(parts, caller, dataset_id, image)

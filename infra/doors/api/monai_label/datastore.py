"""`/datastore` of this dialect: images out, labels in and out. Saving a label is its notification."""

from typing import Annotated, Any

from fastapi import APIRouter, Form, Query, UploadFile
from fastapi.responses import FileResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.formparsers import MultiPartParser

from infra.doors.api.deps import CallerDep, PartsDep
from infra.doors.api.monai_label.scope import DatasetName
from infra.services.data import datasets, images, labels
from infra.services.data.images import ImageFile
from tasks.labels.incoming.save import LabelParams, SavedLabel
from tasks.selection.skip import MAX_REASON_CHARS

router = APIRouter(prefix="/datastore", tags=["MONAI Label: datastore"])
BINARY = "application/octet-stream"
# Starlette has no other way to say it: larger uploads go to disk on their way, each piece by way of another thread.
MultiPartParser.spool_max_size = 2**24


class LabelName(BaseModel):
    """A label's name and its value in the file."""

    model_config = ConfigDict(extra="ignore")

    name: str
    idx: int


class SentParams(BaseModel):
    """What clients send beside a label; whatever else they send is kept with it."""

    model_config = ConfigDict(extra="allow")

    label_info: list[LabelName] = Field(default_factory=list)
    annotated: list[str] | None = None
    model_version: str | None = None
    unedited: bool = False
    tool: str = ""
    client_id: str = ""

    def to_params(self, tag: str) -> LabelParams:
        """Return what the service is told. The names in `label_info` are those that the label speaks about."""
        names = {entry.idx: entry.name for entry in self.label_info}
        sent: dict[str, Any] = self.model_dump(mode="json", exclude_unset=True)
        return LabelParams(
            tag=tag,
            names=names,
            annotated=self.annotated or list(names.values()) or None,
            base_version=self.model_version,
            unedited=self.unedited,
            tool=self.tool or self.client_id,
            sent=sent,
        )


class SavedAnswer(BaseModel):
    """What became of a saved label. `label` is its id, also in `notify`."""

    image: str
    label: str
    warnings: list[str] | None = None

    @classmethod
    def of(cls, saved: SavedLabel) -> "SavedAnswer":
        """Show what was saved."""
        return cls(image=saved.image, label=saved.label, warnings=saved.warnings or None)


class SentInfo(BaseModel):
    """What a client says of an image: why nobody is to label it; null or empty = somebody may again."""

    model_config = ConfigDict(extra="forbid")

    skip: Annotated[str, Field(max_length=MAX_REASON_CHARS)] | None


@router.put("/image/info")
def put_image_info(
    dataset: DatasetName,
    parts: PartsDep,
    caller: CallerDep,
    image: Annotated[str, Query(min_length=1, max_length=1024)],
    info: Annotated[str, Form()],
) -> None:
    """Skip an image with a reason, or clear it; nothing else is kept about images yet."""
    row, said = datasets.find(parts, caller, dataset), SentInfo.model_validate_json(info)
    if said.skip:
        images.skip(parts, caller, row.id, image, said.skip)
    else:
        images.clear(parts, caller, row.id, image)


@router.put("/label", response_model_exclude_none=True)
def save_label(
    dataset: DatasetName,
    parts: PartsDep,
    caller: CallerDep,
    image: Annotated[str, Query(min_length=1, max_length=1024)],
    label: UploadFile,
    tag: str = "final",
    params: Annotated[str, Form()] = "{}",
) -> SavedAnswer:
    """Save a label of an image; what is readable is never refused."""
    row, sent = datasets.find(parts, caller, dataset), SentParams.model_validate_json(params or "{}")
    saved = labels.save(parts, caller, row.id, image, label.file, sent.to_params(tag), client_id=sent.client_id)
    return SavedAnswer.of(saved)


@router.get("/label", response_class=FileResponse)
def get_label(
    dataset: DatasetName,
    parts: PartsDep,
    caller: CallerDep,
    label: Annotated[str, Query(min_length=1, max_length=1024)],
    tag: str | None = None,
    client_id: str = "",
) -> FileResponse:
    """Return a label's file, by the id that saving it gave, or by its image's id and a tag (default `final`)."""
    row = datasets.find(parts, caller, dataset)
    return _file(labels.fetch(parts, caller, row.id, label, tag, client_id=client_id))


@router.delete("/label")
def delete_label(
    dataset: DatasetName,
    parts: PartsDep,
    caller: CallerDep,
    id: Annotated[str, Query(min_length=1, max_length=1024)],  # noqa: A002 - the dialect's name
    tag: str | None = None,
) -> dict[str, str]:
    """Hide a label, by its id or by its image's id and a tag; one that is not there is hidden already."""
    row = datasets.find(parts, caller, dataset)
    labels.remove(parts, caller, row.id, id, tag)
    return {}


@router.get("/image", response_class=FileResponse)
def get_image(
    dataset: DatasetName,
    parts: PartsDep,
    caller: CallerDep,
    image: Annotated[str, Query(min_length=1, max_length=1024)],
    client_id: str = "",
) -> FileResponse:
    """Return an image as NIfTI, and keep the caller's lease of it alive."""
    row = datasets.find(parts, caller, dataset)
    return _file(images.fetch(parts, caller, row.id, image, client_id=client_id))


def _file(found: ImageFile) -> FileResponse:
    return FileResponse(found.path, media_type=BINARY, filename=found.name)

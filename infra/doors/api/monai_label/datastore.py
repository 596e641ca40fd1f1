"""Labels in `/datastore` of this dialect, in and out. Saving a label is its notification."""

from typing import Annotated

from fastapi import APIRouter, Form, Response, UploadFile
from fastapi.responses import FileResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.formparsers import MultiPartParser

from infra.doors.api.deps import CallerDep, PartsDep
from infra.doors.api.monai_label.scope import DatasetName, ImageId, LabelId
from infra.services.data import datasets, label_info, labels
from infra.services.data.images import ImageFile
from infra.services.data.label_history import FINAL
from tasks.labels.incoming.save import LabelParams, SavedLabel

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
        sent = label_info.without_verdict(self.model_dump(mode="json", exclude_unset=True))
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


@router.put("/label", response_model_exclude_none=True)
def save_label(
    dataset: DatasetName,
    parts: PartsDep,
    caller: CallerDep,
    image: ImageId,
    label: UploadFile,
    tag: str = "final",
    params: Annotated[str, Form()] = "{}",
) -> SavedAnswer:
    """Save a label of an image; what is readable is never refused."""
    row, sent = datasets.find(parts, caller, dataset), SentParams.model_validate_json(params or "{}")
    raw = (label.filename or "").endswith(".bin")
    file = labels.of_voxels(parts, caller, row.id, image, label.file) if raw else label.file
    saved = labels.save(parts, caller, row.id, image, file, sent.to_params(tag), client_id=sent.client_id)
    return SavedAnswer.of(saved)


@router.get("/label", response_class=FileResponse)
def get_label(
    dataset: DatasetName,
    parts: PartsDep,
    caller: CallerDep,
    label: LabelId,
    tag: str | None = None,
    client_id: str = "",
) -> FileResponse:
    """Return a label's file, by the id that saving it gave, or by its image's id and a tag (default `final`)."""
    row = datasets.find(parts, caller, dataset)
    return as_file(labels.fetch(parts, caller, row.id, label, tag, client_id=client_id))


@router.delete("/label")
def delete_label(
    dataset: DatasetName,
    parts: PartsDep,
    caller: CallerDep,
    id: LabelId,  # noqa: A002 - the dialect's name
    tag: str | None = None,
) -> dict[str, str]:
    """Hide a label, by its id or by its image's id and a tag; one that is not there is hidden already."""
    row = datasets.find(parts, caller, dataset)
    labels.remove(parts, caller, row.id, id, tag)
    return {}


@router.head("/label")
def has_label(dataset: DatasetName, parts: PartsDep, caller: CallerDep, image: ImageId, tag: str = FINAL) -> Response:
    """Say whether an image has a label under this tag."""
    label_info.find(parts, caller, datasets.find(parts, caller, dataset).id, image, tag)
    return Response()


def as_file(found: ImageFile) -> FileResponse:
    """Send a file under the name that a person saves it as."""
    return FileResponse(found.path, media_type=BINARY, filename=found.name)

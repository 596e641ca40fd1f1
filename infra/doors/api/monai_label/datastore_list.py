"""`GET /datastore/` of this dialect: how many images there are, or all of them with their labels."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, TypeAdapter

from configs.states import LabelState
from infra.adapters.catalog.contents import Content
from infra.adapters.catalog.tables import Dataset, Image, Label
from infra.doors.api.deps import CallerDep, PartsDep
from infra.doors.api.monai_label.info import DatastoreInfo
from infra.doors.api.monai_label.scope import DatasetName
from infra.services.data import archive, contents, datasets
from infra.services.data.label_info import APPROVED, FLAGGED, REVIEW

router = APIRouter(prefix="/datastore", tags=["MONAI Label: datastore"])
_JSON, _ZIP = "application/json", "application/zip"
_ZIPPED: dict[int | str, dict[str, Any]] = {
    200: {"content": {_ZIP: {"schema": {"type": "string", "format": "binary"}}}}
}
IMAGE_ENDING = ".nii"
_STATUS = {LabelState.SENT_BACK: FLAGGED}


class Said(BaseModel):
    """What is known of an image or a label; more stands among the fields."""

    model_config = ConfigDict(extra="allow")

    ts: int
    name: str


class Entry(BaseModel):
    """An image or a label: how its file ends, and what is known of it."""

    ext: str
    info: Said


class ImageEntry(BaseModel):
    """An image and its labels by tag."""

    image: Entry
    labels: dict[str, Entry]

    @classmethod
    def of(cls, content: Content) -> "ImageEntry":
        """Show one image."""
        labels = {tag: Entry(ext=ending_of(row), info=label_info(row)) for tag, row in content.labels.items()}
        return cls(image=Entry(ext=IMAGE_ENDING, info=image_info(content)), labels=labels)


class Pair(BaseModel):
    """An image and the label that people gave it, by their ids."""

    image: str
    label: str


_ENTRIES: TypeAdapter[dict[str, ImageEntry]] = TypeAdapter(dict[str, ImageEntry])
_PAIRS: TypeAdapter[list[Pair]] = TypeAdapter(list[Pair])


@router.get("", response_model=None, responses={200: {"content": {_JSON: {"schema": {}}}}})
@router.get("/", response_model=None, include_in_schema=False)
def get_datastore(
    dataset: DatasetName,
    parts: PartsDep,
    caller: CallerDep,
    output: Annotated[Literal["stats", "train", "all"], Query()] = "stats",
) -> DatastoreInfo | StreamingResponse:
    """Count a data set's images, or list them: those with labels to train on, or all with everything known of them."""
    row = datasets.find(parts, caller, dataset)
    if output == "stats":
        counts = contents.counts(parts, caller, row.id)
        return DatastoreInfo(total=counts.total, completed=counts.labelled, label_tags=dict(counts.tags))
    pages = contents.pages(parts, caller, row.id)
    pieces = _everything(row, pages) if output == "all" else _pairs(pages)
    return StreamingResponse(pieces, media_type=_JSON)


@router.get("/dataset", response_class=StreamingResponse, responses=_ZIPPED)
def get_dataset(
    dataset: DatasetName,
    parts: PartsDep,
    caller: CallerDep,
    limit_cases: Annotated[int | None, Query(ge=1)] = None,
) -> StreamingResponse:
    """Return the cases that have a final label as a zip, written while it is sent."""
    row = datasets.find(parts, caller, dataset)
    pieces = archive.labelled_cases(parts, caller, row.id, limit_cases)
    named = {"Content-Disposition": 'attachment; filename="dataset.zip"'}
    return StreamingResponse(pieces, media_type=_ZIP, headers=named)


def image_info(content: Content) -> Said:
    """Return what is known of an image: what its store says, what clients said, and why nobody is to label it."""
    row: Image = content.image
    more: Mapping[str, Any] = {
        **row.meta,
        **content.said,
        **({"skip": row.skipped_reason} if row.skipped_reason else {}),
    }
    return Said.model_validate({**more, "name": row.name or row.key, "ts": int(row.added_at)})


def label_info(row: Label) -> Said:
    """Return what is known of a label: what was sent with it, who made it, and what reviewers say: here, not there."""
    names = [{"name": name, "idx": int(value)} for value, name in row.names.items()]
    ours = {"label_info": names, "client_id": row.author_name, "params": row.params}
    status = APPROVED if row.approved else _STATUS.get(LabelState(row.state), "")
    told = {**ours, **row.params}
    sent = told.pop(REVIEW, None)
    meta = dict(sent) if isinstance(sent, Mapping) else {}
    if meta or status:
        comment = row.review_reason or meta.get("comment", "")
        review = {"status": status, "approvedBy": row.reviewed_by if row.approved else "", "comment": comment}
        told[REVIEW] = {**meta, **review}
    return Said.model_validate({**told, "name": row.store_key.rpartition("/")[2], "ts": int(row.created_at)})


def ending_of(row: Label) -> str:
    """Return how a label's file ends, by its id in its store."""
    name = row.store_key.rpartition("/")[2]
    return next((ending for ending in (".nii.gz", ".nii", ".nrrd", ".dcm", ".json") if name.endswith(ending)), "")


def _everything(row: Dataset, pages: Iterator[Sequence[Content]]) -> Iterator[bytes]:
    """Write one object piece by piece: of a hundred thousand images nobody wants to hold all in memory."""
    head = Head(name=row.name, description=row.description).model_dump_json().encode()
    yield head[:-1] + b',"objects":{'
    separator = b""
    for page in pages:
        entries = _ENTRIES.dump_json({content.image.key: ImageEntry.of(content) for content in page})
        yield separator + entries[1:-1]
        separator = b","
    yield b"}}"


def _pairs(pages: Iterator[Sequence[Content]]) -> Iterator[bytes]:
    separator = b"["
    for page in pages:
        found = [(one.image.key, contents.to_learn(one)) for one in page]
        labelled = [Pair(image=image, label=label.store_key) for image, label in found if label is not None]
        if labelled:
            yield separator + _PAIRS.dump_json(labelled)[1:-1]
            separator = b","
    yield b"[]" if separator == b"[" else b"]"


class Head(BaseModel):
    """What stands before the images."""

    name: str
    description: str
    images_dir: str = "."
    labels_dir: str = "labels"

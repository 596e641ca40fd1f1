"""`GET /datastore/` of this dialect: how many images there are, or all of them with their labels."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, TypeAdapter
from pydantic_core import to_json

from configs.specs.dataset import LabelSettings
from configs.states import LabelState
from infra.adapters.catalog.contents import Content, Listed
from infra.adapters.catalog.tables import Dataset, Image, Label
from infra.doors.api.deps import CallerDep, PartsDep
from infra.doors.api.monai_label.info import DatastoreInfo
from infra.doors.api.monai_label.scope import DatasetName
from infra.services.data import agreement, archive, contents, datasets, label_history
from infra.services.data.agreement import Pair as Compared
from infra.services.data.label_history import Wanted
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


class Pair(BaseModel):
    """An image and the label that people gave it, by their ids."""

    image: str
    label: str


class ToReview(Pair):
    """A person's label that nobody has approved yet, with what is known of it."""

    info: Said


_PAIRS: TypeAdapter[list[Pair]] = TypeAdapter(list[Pair])
# A data set of 100,000 images is answered in pieces: none of it is held whole.
_AT_ONCE = 500


@router.get("", response_model=None, responses={200: {"content": {_JSON: {"schema": {}}}}})
@router.get("/", response_model=None, include_in_schema=False)
def get_datastore(
    dataset: DatasetName,
    parts: PartsDep,
    caller: CallerDep,
    output: Annotated[Literal["stats", "train", "all", "queue", "agreement"], Query()] = "stats",
) -> DatastoreInfo | StreamingResponse | list[ToReview] | list[Compared]:
    """Count a data set's images, or list them: those with labels to train on, or all with everything known of them.

    For reviewers: the thousand newest labels that nobody has approved yet, and how far people agree.
    """
    row = datasets.find(parts, caller, dataset)
    if output == "queue":
        waiting = label_history.listed(parts, caller, row.id, Wanted(to_review=True))
        return [ToReview(image=one.image, label=one.row.store_key, info=label_info(one.row)) for one in waiting]
    if output == "agreement":
        return agreement.between(parts, caller, row.id)
    if output == "stats":
        counts = contents.counts(parts, caller, row.id)
        return DatastoreInfo(total=counts.total, completed=counts.labelled, label_tags=dict(counts.tags))
    if output == "all":
        return StreamingResponse(_everything(row, contents.pages(parts, caller, row.id)), media_type=_JSON)
    pieces = _pairs(contents.labelled(parts, caller, row.id))
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
    return Said.model_validate(_known(content.image, content.said))


def _known(row: Image | Listed, said: Mapping[str, Any]) -> dict[str, Any]:
    skip = {"skip": row.skipped_reason} if row.skipped_reason else {}
    return {**row.meta, **said, **skip, "name": row.name or row.key, "ts": int(row.added_at)}


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


def _everything(row: Dataset, pages: Iterator[Sequence[Listed]]) -> Iterator[bytes]:
    """Write one object piece by piece: of a hundred thousand images nobody wants to hold all in memory.

    Nothing of it is validated by models on its way: for that it would take twice as long.
    """
    settings = LabelSettings.model_validate(row.spec).label_settings()
    head = Head(name=row.name, description=row.description, label_settings=settings).model_dump_json().encode()
    yield head[:-1] + b',"objects":{'
    separator = b""
    for page in pages:
        yield separator + to_json({one.key: _entry(one) for one in page}, inf_nan_mode="null")[1:-1]
        separator = b","
    yield b"}}"


def _entry(listed: Listed) -> dict[str, Any]:
    """Return an image and its labels by tag: how each file ends, and what is known of it."""
    labels = {tag: {"ext": ending_of(row), "info": label_info(row)} for tag, row in listed.labels.items()}
    return {"image": {"ext": IMAGE_ENDING, "info": _known(listed, listed.said)}, "labels": labels}


def _pairs(labelled: Iterator[tuple[Content, Label]]) -> Iterator[bytes]:
    separator = b"["
    pairs = (Pair(image=content.image.key, label=label.store_key) for content, label in labelled)
    while some := list(islice(pairs, _AT_ONCE)):
        yield separator + _PAIRS.dump_json(some)[1:-1]
        separator = b","
    yield b"[]" if separator == b"[" else b"]"


class Head(BaseModel):
    """What stands before the images; `label_settings` is ours."""

    name: str
    description: str
    label_settings: dict[str, str | int | bool]
    images_dir: str = "."
    labels_dir: str = "labels"

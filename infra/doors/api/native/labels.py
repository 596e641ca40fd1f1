"""Labels: every version with its history, review, quarantine, and what was deleted."""

from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import FileResponse
from pydantic import BaseModel, ConfigDict, Field

from configs.states import LabelState
from infra.doors.api.deps import CallerDep, PartsDep
from infra.services.data import agreement, datasets, label_history, labels, purging
from infra.services.data.agreement import Pair
from infra.services.data.label_history import LabelView, Wanted
from tasks.labels.choosing.review import MAX_REASON_CHARS
from tasks.labels.purge import Purged

router = APIRouter(tags=["labels"])
BINARY = "application/octet-stream"


class LabelResponse(BaseModel):
    """One version of a label. `label` is its id in `notify`; `layer` tells an image's annotators apart.

    `place`: where its file is besides our own copy; with `upload_pending` it goes there when the store is back.
    """

    id: str
    image: str
    label: str
    kind: str
    version: int
    tags: list[str]
    state: str
    author: str
    author_name: str
    tool: str
    base_version: str | None
    unedited: bool
    imported: bool
    annotated: list[str] | None
    names: dict[str, str]
    layer: int
    place: str
    upload_pending: bool
    approved: bool
    reviewed_by: str
    review_reason: str
    warnings: list[str]
    derived_from: list[str]
    created_at: float
    deleted_at: float | None

    @classmethod
    def of(cls, view: LabelView) -> "LabelResponse":
        """Show one version."""
        row = view.row
        own: dict[str, Any] = {
            name: getattr(row, name)
            for name in cls.model_fields
            if name not in {"image", "label", "tags", "derived_from", "names"}
        }
        sources = row.params.get("from", []) if row.state == LabelState.DERIVED else []
        return cls(
            image=view.image,
            label=row.store_key,
            tags=list(view.tags),
            derived_from=sources,
            names={str(value): str(name) for value, name in row.names.items()},
            **own,
        )


class LabelsResponse(BaseModel):
    """A data set's labels, the newest version first."""

    dataset_id: str
    labels: list[LabelResponse]


class SendBackRequest(BaseModel):
    """Why a label is sent back; its author reads it."""

    model_config = ConfigDict(extra="forbid")

    reason: Annotated[str, Field(min_length=1, max_length=MAX_REASON_CHARS)]


class ReleaseRequest(BaseModel):
    """What the label's values mean, where its author did not say so."""

    model_config = ConfigDict(extra="forbid")

    names: dict[int, str] = Field(default_factory=dict)


class PurgeRequest(BaseModel):
    """Remove for good what was deleted longer ago than this; `confirm: false` only counts."""

    model_config = ConfigDict(extra="forbid")

    older_than_days: Annotated[float, Field(ge=0)] = 30
    confirm: bool = False


class LabelsQuery(BaseModel):
    """Which labels are asked for."""

    image: str = ""
    state: LabelState | None = Field(default=None, description="Only labels in this state.")
    tag: str = ""
    deleted: bool = Field(default=False, description="Those that were deleted and not purged; for engineers.")
    to_review: bool = Field(default=False, description="People's labels that nobody has approved yet.")
    limit: int = Field(default=1000, ge=1, le=10_000)


@router.get("/datasets/{dataset}/labels")
def list_labels(
    dataset: str, parts: PartsDep, caller: CallerDep, asked: Annotated[LabelsQuery, Query()]
) -> LabelsResponse:
    """List every version of a data set's labels."""
    row = datasets.find(parts, caller, dataset)
    wanted = Wanted(**{**asked.model_dump(), "state": asked.state or ""})
    found = label_history.listed(parts, caller, row.id, wanted)
    return LabelsResponse(dataset_id=row.id, labels=[LabelResponse.of(view) for view in found])


@router.get("/datasets/{dataset}/agreement")
def get_agreement(
    dataset: str,
    parts: PartsDep,
    caller: CallerDep,
    image: str = "",
    limit: Annotated[int, Query(ge=1, le=200, description="Of images, those labelled last first.")] = 20,
) -> list[Pair]:
    """Compare the masks of every two people who labelled the same image."""
    return agreement.between(parts, caller, dataset, image, limit)


@router.get("/labels/{label}")
def get_label(label: str, parts: PartsDep, caller: CallerDep) -> LabelResponse:
    """Return one version, by its catalog id."""
    return LabelResponse.of(label_history.get(parts, caller, label))


@router.get("/labels/{label}/file", response_class=FileResponse)
def get_file(label: str, parts: PartsDep, caller: CallerDep) -> FileResponse:
    """Return one version's file as it was saved."""
    row = label_history.get(parts, caller, label).row
    found = labels.file_of(parts, row)
    return FileResponse(found.path, media_type=BINARY, filename=found.name)


@router.post("/labels/{label}:approve")
def approve(label: str, parts: PartsDep, caller: CallerDep) -> LabelResponse:
    """Approve what somebody says of an image."""
    return LabelResponse.of(label_history.approve(parts, caller, label))


@router.post("/labels/{label}:send_back")
def send_back(label: str, body: SendBackRequest, parts: PartsDep, caller: CallerDep) -> LabelResponse:
    """Send a label back to its author, who is given its image next."""
    return LabelResponse.of(label_history.send_back(parts, caller, label, body.reason))


@router.post("/labels/{label}:release")
def release(label: str, body: ReleaseRequest, parts: PartsDep, caller: CallerDep) -> LabelResponse:
    """Take a label out of quarantine, if it fits by now."""
    return LabelResponse.of(label_history.release(parts, caller, label, body.names))


@router.delete("/labels/{label}", status_code=HTTPStatus.NO_CONTENT)
def delete(label: str, parts: PartsDep, caller: CallerDep) -> None:
    """Hide a label; its author's right, and an engineer's."""
    label_history.remove(parts, caller, label)


@router.post("/labels:purge")
def purge(body: PurgeRequest, parts: PartsDep, caller: CallerDep) -> Purged:
    """Remove for good what was deleted long ago, or count what that would be."""
    return purging.purge(parts, caller, days=body.older_than_days, confirm=body.confirm)

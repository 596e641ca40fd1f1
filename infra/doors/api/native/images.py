"""Images that nobody is to label: skipped with a reason, listed, cleared."""

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from infra.adapters.catalog.tables import Image
from infra.doors.api.deps import CallerDep, PartsDep
from infra.services.data import datasets, images
from tasks.selection.skip import MAX_REASON_CHARS

router = APIRouter(tags=["images"])


class ImageRequest(BaseModel):
    """One image, by its id in the data set."""

    model_config = ConfigDict(extra="forbid")

    image: Annotated[str, Field(min_length=1, max_length=1024)]


class SkipRequest(ImageRequest):
    """An image and why nobody is to label it; the reason names no patient."""

    reason: Annotated[str, Field(min_length=1, max_length=MAX_REASON_CHARS)]


class ImageState(BaseModel):
    """Whether an image is skipped: `reason` and `by` (a key's id, or `system`) are empty where it is not."""

    image: str
    reason: str
    by: str

    @classmethod
    def of(cls, row: Image) -> "ImageState":
        """Show one image."""
        return cls(image=row.key, reason=row.skipped_reason, by=row.skipped_by)


class SkippedResponse(BaseModel):
    """The skipped images of a data set, by id."""

    dataset_id: str
    images: list[ImageState]


@router.get("/datasets/{dataset}/skipped")
def list_skipped(
    dataset: str, parts: PartsDep, caller: CallerDep, limit: Annotated[int, Query(ge=1, le=10_000)] = 1000
) -> SkippedResponse:
    """List the images that nobody is asked to label, with the reasons."""
    row = datasets.find(parts, caller, dataset)
    found = images.skipped(parts, caller, row.id, limit)
    return SkippedResponse(dataset_id=row.id, images=[ImageState.of(image) for image in found])


@router.post("/datasets/{dataset}/images:skip")
def skip(dataset: str, body: SkipRequest, parts: PartsDep, caller: CallerDep) -> ImageState:
    """Take an image out for everyone; an image that is out already keeps its reason."""
    row = datasets.find(parts, caller, dataset)
    return ImageState.of(images.skip(parts, caller, row.id, body.image, body.reason))


@router.post("/datasets/{dataset}/images:clear")
def clear(dataset: str, body: ImageRequest, parts: PartsDep, caller: CallerDep) -> ImageState:
    """Let a skipped image be given again."""
    row = datasets.find(parts, caller, dataset)
    return ImageState.of(images.clear(parts, caller, row.id, body.image))

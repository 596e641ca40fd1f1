"""`/activelearning` of this dialect: the next image to label."""

from typing import Annotated, Any

from fastapi import APIRouter, BackgroundTasks, Body
from pydantic import BaseModel, ConfigDict

from configs.errors import NotFoundError
from configs.specs.score import is_of_app, strategies
from infra.doors.api.deps import CallerDep, PartsDep
from infra.doors.api.monai_label.scope import DatasetName
from infra.services.data import contents, datasets, images
from infra.services.data.images import NextImage, NoImageLeftError
from infra.services.learning import inference

router = APIRouter(tags=["MONAI Label: active learning"])


class SampleRequest(BaseModel):
    """What a client says of itself; whatever else it sends is its strategy's, and none here is told anything."""

    model_config = ConfigDict(extra="ignore")

    client_id: str = ""


class Sample(BaseModel):
    """An image to label; empty when none is left. What is known of the image besides stands among the fields.

    `path` is the image's id, or its file where only this machine is let in: 3D Slicer opens that without a copy.
    """

    model_config = ConfigDict(extra="allow")

    id: str | None = None
    path: str | None = None
    name: str | None = None
    ts: int | None = None


@router.post("/activelearning/{strategy}", response_model_exclude_none=True)
def next_sample(
    dataset: DatasetName,
    strategy: str,
    parts: PartsDep,
    caller: CallerDep,
    later: BackgroundTasks,
    body: Annotated[SampleRequest | None, Body()] = None,
) -> Sample:
    """Lease the next image in this order to the caller."""
    row, said = datasets.find(parts, caller, dataset), body or SampleRequest()
    if strategy not in strategies() and not is_of_app(strategy):
        raise NotFoundError("strategy", strategy, [*strategies()])
    asked = NextImage(strategy=strategy, client_id=said.client_id)
    try:
        image = images.take_next(parts, caller, row.id, asked)
    except NoImageLeftError:
        return Sample()
    known = contents.served(parts, caller, image, strategy, said.client_id)
    # After the answer: the annotator waits for this image, and not for those that come next.
    later.add_task(inference.prefetch, parts, caller, asked, image)
    sent_back = images.reason_sent_back(parts, caller, image, said.client_id)
    more: dict[str, Any] = {**image.meta, **known, **({"sent_back": sent_back} if sent_back else {})}
    path = images.path_of(parts, caller, image)
    ours = {"id": image.key, "path": path, "name": image.name or image.key, "ts": int(image.added_at)}
    return Sample.model_validate({**more, **ours})  # the image is leased: whatever clients called their fields

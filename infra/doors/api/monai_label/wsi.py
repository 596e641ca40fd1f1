"""`/infer/wsi` of this dialect: a region of a large picture, as the outlines that pathology's viewers draw."""

import time
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, Depends, Form, Query, Response, UploadFile
from pydantic import BaseModel, ConfigDict, Field

from configs.errors import InvalidRequestError
from configs.specs.infer import InferSpec
from infra.doors.api.deps import CallerDep, PartsDep
from infra.doors.api.monai_label.infer_params import InferParams
from infra.doors.api.monai_label.infer_reply import Latencies
from infra.doors.api.monai_label.scope import DatasetName
from infra.doors.api.monai_label.wsi_reply import XML, DsaAnnotation, RegionAnswer, asap
from infra.services.callers import Caller
from infra.services.data import datasets
from infra.services.data.uploads import Sent
from infra.services.learning import by_dataset, regions
from infra.services.learning.regions import Wanted
from infra.services.learning.segmentations import Source
from infra.wiring import Parts
from tasks.images.picture import Region

router = APIRouter(tags=["MONAI Label: inference"])
Pixel = Annotated[int, Field(ge=0, le=2**31)]
Extent = Annotated[int, Field(ge=1, le=2**31)]


class WsiInput(BaseModel):
    """A region: `location` in pixels of the whole picture, all else in those of its level."""

    model_config = ConfigDict(extra="ignore")

    level: int = Field(default=0, ge=0, le=64)
    location: tuple[Pixel, Pixel] = (0, 0)
    size: tuple[Extent, Extent] = (2048, 2048)
    tile_size: tuple[Extent, Extent] = (1024, 1024)
    min_poly_area: int = Field(default=80, ge=0, le=2**31, description="Smaller regions are left out.")
    params: InferParams = Field(default_factory=InferParams)


class WsiQuery(BaseModel):
    """Which image, and how its outlines are written."""

    image: str = Field(default="", max_length=1024)
    session_id: str = Field(default="", max_length=64)
    output: Literal["json", "dsa", "asap"] = "json"


class WsiForm:
    """A region as a form.

    Args:
        wsi: JSON.
        file: A picture.
    """

    def __init__(self, wsi: Annotated[str, Form()] = "{}", file: UploadFile | None = None) -> None:
        self.wsi, self.file = wsi, file


_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {"model": RegionAnswer | DsaAnnotation, "content": {XML: {"schema": {"type": "string"}}}}
}


@router.post("/infer/wsi/{model}", responses=_ANSWERS, response_model=None)
def infer_wsi(
    dataset: DatasetName,
    model: str,
    parts: PartsDep,
    caller: CallerDep,
    query: Annotated[WsiQuery, Query()],
    wsi: Annotated[WsiInput | None, Body()] = None,
) -> Response:
    """Have a model segment a region of a picture of the data set, or of a session's."""
    return _answered(parts, caller, (dataset, model), query, wsi or WsiInput(), None)


@router.post("/infer/wsi_v2/{model}", responses=_ANSWERS, response_model=None)
def infer_wsi_form(
    dataset: DatasetName,
    model: str,
    parts: PartsDep,
    caller: CallerDep,
    query: Annotated[WsiQuery, Query()],
    sent: Annotated[WsiForm, Depends()],
) -> Response:
    """Have a model segment a region of a picture: of one that is sent, else a session's, else one of the data set."""
    file = Sent(sent.file.filename or "", sent.file.file) if sent.file is not None else None
    said = WsiInput.model_validate_json(sent.wsi or "{}")
    return _answered(parts, caller, (dataset, model), query, said, file)


def _answered(
    parts: Parts, caller: Caller, named: tuple[str, str], query: WsiQuery, said: WsiInput, file: Sent | None
) -> Response:
    row = datasets.find(parts, caller, named[0])
    found = by_dataset.model(parts, caller, row, named[1]).experiment
    labels = {int(index): str(name) for index, name in found.labels.items()}
    if said.params.save_label or said.params.spec({name: index for index, name in labels.items()}) != InferSpec():
        raise InvalidRequestError("A region is segmented without clicks, and not kept as a label: leave these out")
    source = Source(row.id, query.image, query.session_id, file)
    wanted = Wanted(
        Region(said.location, said.size, said.level), said.tile_size, said.min_poly_area, said.params.client_id
    )
    began = time.perf_counter()
    made = regions.outlined(parts, caller, found.id, source, wanted)
    total = time.perf_counter() - began
    latencies = Latencies(infer=made.seconds, write=max(total - made.seconds, 0.0), total=total)
    answer = RegionAnswer.of(found.name, wanted.region, made.outlines, labels, latencies)
    if query.output == "asap":
        return Response(asap(answer), media_type=XML)
    shown = DsaAnnotation.of(answer) if query.output == "dsa" else answer
    return Response(shown.model_dump_json(), media_type="application/json")

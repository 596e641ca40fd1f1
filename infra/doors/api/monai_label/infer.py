"""`/infer` of this dialect: a segmentation of an image of the data set."""

import time
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Form, Query, Response, UploadFile
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from configs.errors import InvalidRequestError
from infra.doors.api.deps import CallerDep, PartsDep
from infra.doors.api.monai_label.infer_params import InferParams
from infra.doors.api.monai_label.infer_reply import BINARY, ResultParams, both, disposition, headers_of
from infra.doors.api.monai_label.scope import DatasetName
from infra.doors.api.monai_label.scribbles import ScribbleParams
from infra.services.callers import Caller
from infra.services.data import datasets
from infra.services.data.uploads import Sent
from infra.services.learning import by_dataset, scribbles, segmentations
from infra.services.learning.inference import Predicted
from infra.services.learning.segmentations import Segmentation, Source
from infra.wiring import Parts
from tasks.labels.forms.result import ResultForm, written

router = APIRouter(tags=["MONAI Label: inference"])
Output = Literal["image", "json", "all", "dicom_seg"]
_BINARY: dict[str, Any] = {"schema": {"type": "string", "format": "binary"}}
_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Params and label map as multipart; with `output` one of the two.",
        "content": {"multipart/form-data": _BINARY, BINARY: _BINARY, "application/dicom": _BINARY},
        "model": ResultParams,
    }
}


class InferQuery(BaseModel):
    """Which image, and what of the result is answered."""

    image: str = Field(default="", max_length=1024)
    session_id: str = Field(default="", max_length=64)
    output: Output = "all"


class InferForm:
    """What a client sends beside the query; a form may be empty.

    Args:
        params: JSON.
        file: An image.
        label: A label or scribbles that a model is to go on from.
    """

    def __init__(
        self, params: Annotated[str, Form()] = "{}", file: UploadFile | None = None, label: UploadFile | None = None
    ) -> None:
        self.params, self.file, self.label = params, file, label


@router.post("/infer/{model}", response_class=JSONResponse, responses=_ANSWERS, response_model=None)
def infer(
    dataset: DatasetName,
    model: str,
    parts: PartsDep,
    caller: CallerDep,
    query: Annotated[InferQuery, Query()],
    sent: Annotated[InferForm, Depends()],
) -> Response:
    """Have a model segment an image: one that is sent, else a session's, else one of the data set."""
    row, said = datasets.find(parts, caller, dataset), InferParams.model_validate_json(sent.params or "{}")
    segments = said.segments() if query.output == "dicom_seg" else {}
    file = Sent(sent.file.filename or "", sent.file.file) if sent.file is not None else None
    source = Source(row.id, query.image, query.session_id, file)
    if model in scribbles.METHODS:
        name, (labels, made) = model, _scribbled(parts, caller, model, source, sent)
    else:
        found = by_dataset.model(parts, caller, row, model).experiment
        name = found.name
        labels = {str(name): int(index) for index, name in found.labels.items()}
        if sent.label is not None:
            raise InvalidRequestError(f"{name} takes no label or scribbles beside the image: send clicks instead")
        made = segmentations.segment(parts, caller, found.id, source, said.spec(labels), said.client_id)
    if said.save_label:
        told = {**said.model_dump(mode="json", exclude_unset=True), "label_names": labels, "model": name}
        segmentations.keep(parts, caller, made, said.label_tag, told, client_id=said.client_id)
    if query.output == "dicom_seg":
        content = segmentations.as_seg(parts, caller, made, segments)
        return Response(content, media_type="application/dicom", headers=headers_of(made.predicted))
    return _answered(made.predicted, labels, said.form(made.image), query.output)


def _scribbled(
    parts: Parts, caller: Caller, method: str, source: Source, sent: InferForm
) -> tuple[dict[str, int], Segmentation]:
    if sent.label is None:
        raise InvalidRequestError(f"{method} segments by strokes, and none came: send them as the form's file `label`")
    said = ScribbleParams.model_validate_json(sent.params or "{}")
    strokes = said.strokes(scribbles.METHODS[method])
    return said.labels(), scribbles.segment(parts, caller, source, sent.label.file, strokes, said.client_id)


def _answered(answer: Predicted, labels: Mapping[str, int], form: ResultForm, output: Output) -> Response:
    began = time.perf_counter()
    content = written(answer.content, form) if answer.said is None and output != "json" else b""
    told = ResultParams.of(answer, labels, time.perf_counter() - began).text()
    headers, name = headers_of(answer), answer.name.removesuffix(".nrrd") + form.ending
    if not content:
        return Response(told, media_type="application/json", headers=headers)
    if output == "image":
        return Response(content, media_type=BINARY, headers={**headers, "Content-Disposition": disposition(name)})
    return both(told, name, content, headers)

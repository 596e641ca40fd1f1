"""`/infer` of this dialect: a segmentation of an image of the data set."""

import time
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Form, Query, Response
from fastapi.responses import JSONResponse

from configs.errors import InvalidRequestError
from infra.doors.api.deps import CallerDep, PartsDep
from infra.doors.api.monai_label.infer_params import InferParams
from infra.doors.api.monai_label.infer_reply import BINARY, ResultParams, both, headers_of
from infra.doors.api.monai_label.scope import DatasetName
from infra.services.data import datasets
from infra.services.learning import by_dataset, inference
from infra.services.learning.inference import Inference
from tasks.labels.forms.result import written

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


@router.post("/infer/{model}", response_class=JSONResponse, responses=_ANSWERS, response_model=None)
def infer(
    dataset: DatasetName,
    model: str,
    parts: PartsDep,
    caller: CallerDep,
    image: Annotated[str, Query(max_length=1024)] = "",
    output: Output = "all",
    params: Annotated[str, Form()] = "{}",
) -> Response:
    """Have a model segment an image of the data set."""
    row, said = datasets.find(parts, caller, dataset), InferParams.model_validate_json(params or "{}")
    found = by_dataset.model(parts, caller, row, model).experiment
    labels = {str(name): int(index) for index, name in found.labels.items()}
    if not image:
        raise InvalidRequestError("Neither Image nor File not Session ID input is provided")
    asked = Inference(image=image, dataset_id=row.id, spec=said.spec(labels), client_id=said.client_id)
    form = said.form(image)
    answer = inference.infer(parts, caller, found.id, asked)
    began = time.perf_counter()
    content = written(answer.content, form) if answer.said is None and output != "json" else b""
    told = ResultParams.of(answer, labels, time.perf_counter() - began).text()
    headers, name = headers_of(answer), answer.name.removesuffix(".nrrd") + form.ending
    if not content:
        return Response(told, media_type="application/json", headers=headers)
    if output == "image":
        disposition = f'attachment; filename="{name}"'
        return Response(content, media_type=BINARY, headers={**headers, "Content-Disposition": disposition})
    return both(told, name, content, headers)

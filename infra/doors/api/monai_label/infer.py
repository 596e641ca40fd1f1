"""`/infer` of this dialect: a segmentation of an image of the data set."""

import time
from collections.abc import Mapping
from typing import Annotated, Any, Literal, NamedTuple

from fastapi import APIRouter, Depends, Form, Query, Response, UploadFile
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from configs.errors import InvalidRequestError, NotFoundError
from infra.adapters.catalog.tables import Upload
from infra.doors.api.deps import CallerDep, PartsDep
from infra.doors.api.monai_label.infer_params import InferParams
from infra.doors.api.monai_label.infer_reply import BINARY, ResultParams, both, headers_of
from infra.doors.api.monai_label.scope import DatasetName
from infra.services.callers import Caller
from infra.services.data import datasets, uploads
from infra.services.data.uploads import ONCE_S, Sent
from infra.services.learning import by_dataset, inference, kept_results
from infra.services.learning.inference import Inference, Predicted
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
    found = by_dataset.model(parts, caller, row, model).experiment
    labels = {str(name): int(index) for index, name in found.labels.items()}
    if sent.label is not None:
        raise InvalidRequestError(f"{found.name} takes no label or scribbles beside the image: send clicks instead")
    upload = _upload(parts, caller, sent.file, query.session_id)
    if upload is None and not query.image:
        raise InvalidRequestError("Neither Image nor File not Session ID input is provided")
    image = upload.name if upload is not None else query.image
    form = said.form(image)
    asked = Inference(
        image=image,
        dataset_id=None if upload is not None else row.id,
        spec=said.spec(labels),
        client_id=said.client_id,
        upload=uploads.address(upload) if upload is not None else "",
    )
    of_dataset = _Wanted(row.id, image) if upload is None else None
    if query.output == "dicom_seg":
        return _seg(parts, caller, of_dataset, said, found.id, asked)
    answer = inference.infer(parts, caller, found.id, asked)
    if said.save_label and of_dataset is not None:
        told = {**said.model_dump(mode="json", exclude_unset=True), "label_names": labels, "model": found.name}
        kept_results.keep(parts, caller, row.id, image, answer, said.label_tag, told)
    return _answered(answer, labels, form, query.output)


class _Wanted(NamedTuple):
    """An image of a data set."""

    dataset_id: str
    image: str


def _upload(parts: Parts, caller: Caller, file: UploadFile | None, session_id: str) -> Upload | None:
    if file is not None:
        return uploads.create(parts, caller, [Sent(file.filename or "", file.file)], ONCE_S)
    return uploads.find(parts, caller, session_id, use=True) if session_id else None


def _seg(
    parts: Parts, caller: Caller, wanted: _Wanted | None, said: InferParams, experiment_id: str, asked: Inference
) -> Response:
    if said.label_info is None:
        raise NotFoundError("label_info in the params: a DICOM SEG names its segments by it, as", '[{"name", "idx"}]')
    if wanted is None:
        raise InvalidRequestError("A DICOM SEG refers to its image's series: ask about an image of the data set")
    answer = inference.infer(parts, caller, experiment_id, asked)
    names = {each.idx or number: each.name for number, each in enumerate(said.label_info, start=1)}
    content = kept_results.as_seg(parts, caller, wanted.dataset_id, wanted.image, answer, names)
    return Response(content, media_type="application/dicom", headers=headers_of(answer))


def _answered(answer: Predicted, labels: Mapping[str, int], form: ResultForm, output: Output) -> Response:
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

"""`/proxy/dicom` of this dialect: what viewers ask of a data set's DICOMweb server."""

from fastapi import APIRouter, Request
from fastapi.responses import StreamingResponse

from configs.errors import ForbiddenError
from infra.doors.api.deps import CallerDep, PartsDep
from infra.doors.api.monai_label.scope import DatasetName
from infra.services.data import datasets, dicomweb

router = APIRouter(prefix="/proxy/dicom", tags=["MONAI Label: DICOMweb"])
_OPERATIONS = frozenset({"wado", "qido", "stow"})


@router.get("/{path:path}", response_class=StreamingResponse)
def get_dicom(
    dataset: DatasetName, path: str, request: Request, parts: PartsDep, caller: CallerDep
) -> StreamingResponse:
    """Ask the data set's DICOMweb server, with the query as it came; only for what the data set has."""
    row = datasets.find(parts, caller, dataset)
    first, _, rest = path.partition("/")
    wanted = rest if first in _OPERATIONS else path
    answer = dicomweb.ask(parts, caller, row.id, wanted, request.url.query, request.headers)
    return StreamingResponse(answer.pieces, status_code=answer.status, headers=dict(answer.headers))


@router.post("/{path:path}")
def post_dicom(dataset: DatasetName, path: str, parts: PartsDep, caller: CallerDep) -> None:  # noqa: ARG001 - any path
    """Refuse: what is stored there would have no history here."""
    datasets.find(parts, caller, dataset)
    raise ForbiddenError("Nothing is stored through this: save labels with PUT /datastore/label, which keeps each one")

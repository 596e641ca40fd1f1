"""What jobs made, in this dialect: `:list_files`, `:download`, `:download_selective_files`."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Query, Response
from fastapi.responses import FileResponse, StreamingResponse
from pydantic import BaseModel, ConfigDict

from configs.errors import NotFoundError
from infra.doors.api.deps import CallerDep, PartsDep
from infra.doors.api.monai_cloud.words import ExperimentId, JobId
from infra.services.learning import results

router = APIRouter(prefix="/experiments/{experiment_id}/jobs", tags=["results"])
_TAR_GZ = "application/gzip"
_ARCHIVE: dict[int | str, dict[str, Any]] = {
    200: {"content": {_TAR_GZ: {"schema": {"type": "string", "format": "binary"}}}}
}
_PIECE = 2**20
_OWN, _OF_MONAI = "tao", "monai_bundle"
FileNames = Annotated[list[str], Query(max_length=1000, description="As `:list_files` lists them; may be repeated.")]


class ExportRequest(BaseModel):
    """What is wanted of a job: `tao`, its files, or `monai_bundle`, a bundle that MONAI itself runs."""

    model_config = ConfigDict(extra="ignore")

    export_type: str = _OWN


@router.get("/{job_id}:list_files")
def list_files(experiment_id: ExperimentId, job_id: JobId, parts: PartsDep, caller: CallerDep) -> list[str]:
    """List what the job has made so far."""
    return [file.name for file in results.listed(parts, caller, experiment_id, job_id).files]


@router.get("/{job_id}:download", response_class=StreamingResponse, responses=_ARCHIVE)
def download(
    experiment_id: ExperimentId, job_id: JobId, parts: PartsDep, caller: CallerDep, body: ExportRequest | None = None
) -> StreamingResponse:
    """Return what the job has made as a tar.gz, or a bundle that MONAI itself runs: a JSON body on a GET says so."""
    wanted = (body or ExportRequest()).export_type
    if wanted not in {_OWN, _OF_MONAI}:
        raise NotFoundError("export_type", wanted, known=[_OWN, _OF_MONAI])
    if wanted == _OF_MONAI:
        return _archive(job_id, results.as_bundle(parts, caller, experiment_id, job_id))
    return _archive(job_id, results.everything(parts, caller, experiment_id, job_id).packed())


@router.get("/{job_id}:download_selective_files", response_class=StreamingResponse, responses=_ARCHIVE)
def download_selective_files(
    experiment_id: ExperimentId,
    job_id: JobId,
    parts: PartsDep,
    caller: CallerDep,
    file_lists: FileNames = [],  # noqa: B006 - FastAPI copies a default
    best_model: bool = False,
    latest_model: bool = False,
    tar_files: bool = True,
) -> Response:
    """Return some files as a tar.gz; with `tar_files=false` a single one as it is.

    A job keeps one model, its best where there was validation: both flags mean that one.
    """
    found = results.chosen(parts, caller, experiment_id, job_id, file_lists, model=best_model or latest_model)
    if len(found.files) == 1 and not tar_files:
        name, file = found.single()
        if isinstance(file, Path):
            return FileResponse(file, filename=name)
        named = {"Content-Disposition": f"attachment; filename*=utf-8''{quote(name)}"}
        return StreamingResponse(iter(partial(file.read, _PIECE), b""), headers=named)
    return _archive(job_id, found.packed())


def _archive(job_id: str, pieces: Iterator[bytes]) -> StreamingResponse:
    named = {"Content-Disposition": f'attachment; filename="{job_id}.tar.gz"'}
    return StreamingResponse(pieces, media_type=_TAR_GZ, headers=named)

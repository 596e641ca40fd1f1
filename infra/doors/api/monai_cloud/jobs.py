"""`/experiments/{id}/jobs` of this dialect."""

from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, Response
from fastapi.responses import PlainTextResponse
from pydantic import BaseModel, ConfigDict

from configs.errors import InvalidRequestError, NotFoundError
from infra.doors.api.deps import CallerDep, PageDep, PartsDep
from infra.doors.api.monai_cloud.job_schemas import (
    AnnotationSpecs,
    BatchSpecs,
    InferenceSpecs,
    JobList,
    JobRequest,
    JobResponse,
    Message,
    TrainSpecs,
)
from infra.doors.api.monai_cloud.multipart import MultipartResponse
from infra.doors.api.monai_cloud.words import AnyExperimentId, ExperimentId, JobId, ShapeDep, named_experiment
from infra.services.callers import Caller
from infra.services.learning import inference, jobs
from infra.services.learning.jobs import Asked
from infra.wiring import Parts

router = APIRouter(prefix="/experiments/{experiment_id}/jobs", tags=["jobs"])
_COMES_AFTER = ("train", "batchinfer")
NOT_OFFERED = frozenset({"auto3dseg", "generate", "evaluate", "export", "prune", "retrain"})


class ResumeRequest(BaseModel):
    """How a job goes on: a loop with a round at once, a training with other specs from its last checkpoint on."""

    model_config = ConfigDict(extra="ignore")

    round_now: bool = False
    specs: dict[str, Any] | None = None


@router.post(
    "",
    status_code=HTTPStatus.CREATED,
    response_model=str,
    responses={
        HTTPStatus.CREATED: {
            "description": "The job's id as a bare JSON string; for `inference` the label map.",
            "content": {"multipart/form-data": {"schema": {"type": "string", "format": "binary"}}},
        }
    },
)
def create_job(experiment_id: ExperimentId, body: JobRequest, parts: PartsDep, caller: CallerDep) -> str | Response:
    """Run `annotation`, `train`, `inference` or `batchinfer`."""
    if not body.action:
        raise InvalidRequestError("Action is required to run job")
    run = _ACTIONS.get(body.action)
    if body.action in NOT_OFFERED:
        raise InvalidRequestError(f"Action {body.action!r} is not offered here: use one of {', '.join(_ACTIONS)}")
    if run is None:
        raise NotFoundError("action", body.action, known=_ACTIONS)
    if body.parent_job_id is not None and body.action not in _COMES_AFTER:
        raise InvalidRequestError(f"parent_job_id makes {' and '.join(_COMES_AFTER)} wait; leave it out")
    return run(parts, caller, experiment_id, body)


@router.get("")
def list_jobs(
    experiment_id: AnyExperimentId, parts: PartsDep, caller: CallerDep, page: PageDep, shape: ShapeDep
) -> list[JobResponse] | JobList:
    """List an experiment's jobs, or with `*` or `all` those of all experiments."""
    found = jobs.listed(parts, caller, named_experiment(experiment_id), page)
    rows, info = [JobResponse.of(job) for job in found.rows], shape.tell_total(found.total)
    return JobList(jobs=rows, pagination_info=info) if shape.wrapped else rows


@router.get("/{job_id}")
def get_job(experiment_id: ExperimentId, job_id: JobId, parts: PartsDep, caller: CallerDep) -> JobResponse:
    """Return one job."""
    return JobResponse.of(jobs.get(parts, caller, experiment_id, job_id))


@router.get("/{job_id}/logs", response_class=PlainTextResponse)
def get_job_logs(experiment_id: ExperimentId, job_id: JobId, parts: PartsDep, caller: CallerDep) -> str:
    """Return what the job wrote."""
    return jobs.log(parts, caller, experiment_id, job_id)


@router.post("/{job_id}:cancel")
def cancel_job(experiment_id: ExperimentId, job_id: JobId, parts: PartsDep, caller: CallerDep) -> Message:
    """Cancel a job; a finished one is left as it is, with the same answer."""
    job = jobs.cancel(parts, caller, experiment_id, job_id)
    return Message(message=f"Job {job.id} is {job.status}")


@router.post("/{job_id}:pause")
def pause_job(experiment_id: ExperimentId, job_id: JobId, parts: PartsDep, caller: CallerDep) -> Message:
    """Let a training keep a checkpoint and leave; let an annotation job start no further round, labels counting on.

    A job that has ended, or is paused, is left as it is, with the same answer.
    """
    job = jobs.pause(parts, caller, experiment_id, job_id)
    return Message(message=f"Job {job.id} is {job.status}")


@router.post("/{job_id}:resume")
def resume_job(
    experiment_id: ExperimentId, job_id: JobId, parts: PartsDep, caller: CallerDep, body: ResumeRequest | None = None
) -> Message:
    """Go on with a paused job. An annotation job may be asked for a round at once, paused or not."""
    asked = body or ResumeRequest()
    specs = asked.specs or {}
    change = TrainSpecs.model_validate(specs).to_change() if specs else None
    said = jobs.resume(parts, caller, experiment_id, job_id, round_now=asked.round_now, change=change, specs=specs)
    return Message(message=said)


@router.delete("/{job_id}")
def delete_job(experiment_id: ExperimentId, job_id: JobId, parts: PartsDep, caller: CallerDep) -> dict[str, Any]:
    """Hide a job that has ended."""
    jobs.remove(parts, caller, experiment_id, job_id)
    return {}


def _annotation(parts: Parts, caller: Caller, experiment_id: str, body: JobRequest) -> str:
    spec = AnnotationSpecs.model_validate(body.specs).to_spec(num_gpu=body.num_gpu)
    return jobs.annotate(parts, caller, experiment_id, spec, _asked(body))


def _train(parts: Parts, caller: Caller, experiment_id: str, body: JobRequest) -> str:
    spec = TrainSpecs.model_validate(body.specs_with_gpus()).to_spec()
    return jobs.train(parts, caller, experiment_id, spec, _asked(body))


def _inference(parts: Parts, caller: Caller, experiment_id: str, body: JobRequest) -> Response:
    asked = InferenceSpecs.model_validate(body.specs).to_inference()
    return MultipartResponse(inference.infer(parts, caller, experiment_id, asked), HTTPStatus.CREATED)


def _batch(parts: Parts, caller: Caller, experiment_id: str, body: JobRequest) -> str:
    spec = BatchSpecs.model_validate(body.specs_with_gpus()).to_spec()
    return jobs.batch_infer(parts, caller, experiment_id, spec, _asked(body))


def _asked(body: JobRequest) -> Asked:
    return Asked(
        name=body.name,
        description=body.description,
        specs=body.specs,
        after=body.parent_job_id,
        platform=body.platform or "",
    )


_ACTIONS: dict[str, Callable[[Parts, Caller, str, JobRequest], str | Response]] = {
    "annotation": _annotation,
    "train": _train,
    "inference": _inference,
    "batchinfer": _batch,
}

"""Jobs of a data set, such as `nextimage` and `notify`: answered at once, they leave no job behind."""

from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, BackgroundTasks
from pydantic import ValidationError

from configs.errors import NotFoundError
from infra.doors.api.cloud_errors import by_field
from infra.doors.api.deps import CallerDep, PartsDep
from infra.doors.api.monai_cloud.dataset_job_schemas import (
    AgreementSpecs,
    CacheImageSpecs,
    DatasetJobAnswer,
    DatasetJobRequest,
    NextImageSpecs,
    NotifySpecs,
    QueueSpecs,
    ReviewSpecs,
    SkipSpecs,
)
from infra.doors.api.monai_cloud.job_schemas import JobResponse
from infra.doors.api.monai_cloud.words import DatasetId, JobId
from infra.doors.api.native.labels import LabelResponse
from infra.services.callers import Caller
from infra.services.data import agreement, datasets, images, label_history, label_info, labels
from infra.services.data.images import NextImage
from infra.services.data.label_history import Wanted
from infra.services.learning import inference
from infra.wiring import Parts

router = APIRouter(prefix="/datasets/{dataset_id}/jobs", tags=["dataset jobs"])


class _NoNoticeError(NotFoundError):
    """What is notified cannot be read, which this dialect calls not found."""

    def __init__(self, said: str) -> None:
        super().__init__("notice", said)
        self._said = said

    def __str__(self) -> str:
        return f"{self._said}: give added, updated and removed, each an image and its label, or a list of such"


@router.post("", status_code=HTTPStatus.CREATED, response_model_exclude_none=True)
def create_dataset_job(
    dataset_id: DatasetId, body: DatasetJobRequest, parts: PartsDep, caller: CallerDep, later: BackgroundTasks
) -> DatasetJobAnswer:
    """Run `nextimage`, `cacheimage`, `notify`, `skip`, `queue`, `review` or `agreement`."""
    run = _ACTIONS.get(body.action)
    if run is None:
        raise NotFoundError("action", body.action, known=_ACTIONS)
    return run(parts, caller, dataset_id, body.specs, later)


@router.get("")
def list_dataset_jobs(dataset_id: DatasetId, parts: PartsDep, caller: CallerDep) -> list[JobResponse]:
    """Return no jobs: a data set's are answered at once."""
    datasets.get(parts, caller, dataset_id)
    return []


@router.get("/{job_id}", response_model=None)
@router.delete("/{job_id}", response_model=None)
@router.get("/{job_id}/logs", response_model=None)
@router.get("/{job_id}:list_files", response_model=None)
@router.get("/{job_id}:download_selective_files", response_model=None)
@router.get("/{job_id}:download", response_model=None)
@router.post("/{job_id}:cancel", response_model=None)
def refuse_job(dataset_id: DatasetId, job_id: JobId, parts: PartsDep, caller: CallerDep) -> None:
    """Refuse: a data set's jobs are answered at once, and none is kept."""
    datasets.get(parts, caller, dataset_id)
    raise NotFoundError("job", job_id)


def _next_image(
    parts: Parts, caller: Caller, dataset_id: str, specs: Mapping[str, Any], later: BackgroundTasks
) -> DatasetJobAnswer:
    asked = NextImageSpecs.model_validate(specs)
    wanted = NextImage(experiment_id=asked.experiment, strategy=asked.strategy, client_id=asked.client_id)
    image = images.take_next(parts, caller, dataset_id, wanted)
    # After the answer: the annotator waits for this image, and not for those that come next.
    later.add_task(inference.prefetch, parts, caller, wanted, image)
    meta = image.meta if "SeriesInstanceUID" in image.meta else {"labels": [], **image.meta}
    if reason := images.reason_sent_back(parts, caller, image, asked.client_id):
        meta = {**meta, "sent_back": reason}
    return DatasetJobAnswer(image=image.key, meta=meta)


def _cache_image(
    parts: Parts, caller: Caller, dataset_id: str, specs: Mapping[str, Any], later: BackgroundTasks
) -> DatasetJobAnswer:
    asked = CacheImageSpecs.model_validate(specs)
    key = images.get(parts, caller, dataset_id, asked.image).key
    later.add_task(images.cache, parts, caller, dataset_id, key, client_id=asked.client_id)
    return DatasetJobAnswer()


def _skip(
    parts: Parts, caller: Caller, dataset_id: str, specs: Mapping[str, Any], _later: BackgroundTasks
) -> DatasetJobAnswer:
    asked = SkipSpecs.model_validate(specs)
    images.skip(parts, caller, dataset_id, asked.image, asked.reason)
    return DatasetJobAnswer()


def _notify(
    parts: Parts, caller: Caller, dataset_id: str, specs: Mapping[str, Any], _later: BackgroundTasks
) -> DatasetJobAnswer:
    try:
        asked = NotifySpecs.model_validate(specs)
    except ValidationError as error:
        raise _NoNoticeError(by_field(error.errors(include_url=False))) from None
    labels.notify(parts, caller, dataset_id, asked.notices())
    return DatasetJobAnswer()


def _queue(
    parts: Parts, caller: Caller, dataset_id: str, specs: Mapping[str, Any], _later: BackgroundTasks
) -> DatasetJobAnswer:
    wanted = Wanted(to_review=True, limit=QueueSpecs.model_validate(specs).limit)
    views = label_history.listed(parts, caller, dataset_id, wanted)
    return DatasetJobAnswer(labels=[LabelResponse.of(view) for view in views])


def _review(
    parts: Parts, caller: Caller, dataset_id: str, specs: Mapping[str, Any], _later: BackgroundTasks
) -> DatasetJobAnswer:
    asked = ReviewSpecs.model_validate(specs)
    found = label_info.find(parts, caller, dataset_id, asked.label, None).id
    if asked.approve:
        view = label_history.approve(parts, caller, found)
    else:
        view = label_history.send_back(parts, caller, found, asked.reason)
    return DatasetJobAnswer(labels=[LabelResponse.of(view)])


def _agreement(
    parts: Parts, caller: Caller, dataset_id: str, specs: Mapping[str, Any], _later: BackgroundTasks
) -> DatasetJobAnswer:
    asked = AgreementSpecs.model_validate(specs)
    return DatasetJobAnswer(agreement=agreement.between(parts, caller, dataset_id, asked.image, asked.limit))


_ACTIONS: dict[str, Callable[[Parts, Caller, str, Mapping[str, Any], BackgroundTasks], DatasetJobAnswer]] = {
    "nextimage": _next_image,
    "cacheimage": _cache_image,
    "notify": _notify,
    "skip": _skip,
    "queue": _queue,
    "review": _review,
    "agreement": _agreement,
}

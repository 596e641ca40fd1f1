"""Jobs of a data set: `nextimage`, `cacheimage`, `notify`, `skip`; answered at once, they leave no job behind."""

from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, BackgroundTasks
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from configs.errors import NotFoundError
from configs.specs.score import AnyStrategy
from infra.doors.api.cloud_errors import by_field
from infra.doors.api.deps import CallerDep, PartsDep
from infra.doors.api.monai_cloud.job_schemas import JobResponse, Specs
from infra.doors.api.monai_cloud.words import DatasetId, JobId
from infra.services.callers import Caller
from infra.services.data import datasets, images, labels
from infra.services.data.images import NextImage
from infra.services.learning import inference
from infra.wiring import Parts
from tasks.labels.incoming.notice import Notice
from tasks.rounds.count import NoticeKind
from tasks.selection.skip import MAX_REASON_CHARS

router = APIRouter(prefix="/datasets/{dataset_id}/jobs", tags=["dataset jobs"])


class DatasetJobRequest(BaseModel):
    """A job of a data set."""

    model_config = ConfigDict(extra="forbid")

    action: str
    specs: Specs = Field(default_factory=dict)
    parent_job_id: str | None = None
    name: str = ""
    description: str = ""


class NextImageSpecs(BaseModel):
    """What `nextimage` may be told. `limit` is read and makes no difference, as it never did."""

    model_config = ConfigDict(extra="forbid")

    limit: int = 1
    experiment: str | None = None
    strategy: AnyStrategy | None = None
    client_id: str = ""


class CacheImageSpecs(BaseModel):
    """Which image is to be cached."""

    model_config = ConfigDict(extra="forbid")

    image: Annotated[str, Field(min_length=1)]
    ttl: int = 3600
    client_id: str = ""


class SkipSpecs(BaseModel):
    """Which image nobody is to label, and why."""

    model_config = ConfigDict(extra="forbid")

    image: Annotated[str, Field(min_length=1, max_length=1024)]
    reason: Annotated[str, Field(min_length=1, max_length=MAX_REASON_CHARS)]


class Entry(BaseModel):
    """A label and the image that it speaks about."""

    model_config = ConfigDict(extra="ignore")

    image: Annotated[str, Field(min_length=1, max_length=1024)]
    label: Annotated[str, Field(min_length=1, max_length=1024)]


Section = Annotated[list[Entry], BeforeValidator(lambda said: [said] if isinstance(said, dict) else said)]


class NotifySpecs(BaseModel):
    """What happened to labels; each section is a list or one entry."""

    model_config = ConfigDict(extra="forbid")

    added: Section = Field(default_factory=list)
    updated: Section = Field(default_factory=list)
    removed: Section = Field(default_factory=list)

    def notices(self) -> list[Notice]:
        """Return the entries in the order added, updated, removed."""
        sections: tuple[tuple[NoticeKind, list[Entry]], ...] = (
            ("added", self.added),
            ("updated", self.updated),
            ("removed", self.removed),
        )
        return [
            Notice(kind=kind, image=entry.image, label=entry.label) for kind, section in sections for entry in section
        ]


class _NoNoticeError(NotFoundError):
    """What is notified cannot be read, which this dialect calls not found."""

    def __init__(self, said: str) -> None:
        super().__init__("notice", said)
        self._said = said

    def __str__(self) -> str:
        return f"{self._said}: give added, updated and removed, each an image and its label, or a list of such"


class DatasetJobAnswer(BaseModel):
    """What `nextimage` answers; the other actions answer `{}`."""

    image: str | None = None
    meta: dict[str, Any] | None = None


@router.post("", status_code=HTTPStatus.CREATED, response_model_exclude_none=True)
def create_dataset_job(
    dataset_id: DatasetId, body: DatasetJobRequest, parts: PartsDep, caller: CallerDep, later: BackgroundTasks
) -> DatasetJobAnswer:
    """Run `nextimage`, `cacheimage`, `notify` or `skip`."""
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


_ACTIONS: dict[str, Callable[[Parts, Caller, str, Mapping[str, Any], BackgroundTasks], DatasetJobAnswer]] = {
    "nextimage": _next_image,
    "cacheimage": _cache_image,
    "notify": _notify,
    "skip": _skip,
}

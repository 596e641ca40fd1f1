"""Jobs of an experiment in this dialect's words."""

from collections.abc import Mapping
from datetime import timedelta
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from configs.errors import InvalidRequestError, NotFoundError
from configs.specs.annotation import AnnotationSpec, GateSpec, PublishPolicy, StopCriteria
from configs.specs.batch import BatchResult, BatchSpec, Which
from configs.specs.infer import InferSpec
from configs.specs.round import RoundSpec, SpecChange
from configs.specs.score import ScoringResult
from configs.specs.train import TrainSpec
from infra.adapters.catalog.tables import Job
from infra.doors.api.cloud_errors import ClusterSpecError
from infra.doors.api.monai_cloud.words import JobRef, PaginationInfo, iso
from infra.services.learning.inference import Inference
from tasks.rounds.records.result import RoundResult

# The dialect's clients compare it as a number from the first poll on.
_NO_METRIC_YET = 0.0
_OF_INFERENCE = frozenset({"inference", "batch_inference"})  # what guides name, and what is run anyway
Platform = Literal["t4", "l4", "l40", "a10", "a30", "a40", "a100", "v100"]
_OTHER_RESULTS: Mapping[str, type[BatchResult | ScoringResult]] = {
    "batchinfer": BatchResult,
    "scoring": ScoringResult,
}
_PROMPTS = ("label_prompt", "points", "point_labels")


class _NoSpecsError(NotFoundError):
    """The specs are no object, which this dialect calls not found."""

    def __init__(self) -> None:
        super().__init__("specs", "specs")

    def __str__(self) -> str:
        return "The job's specs are no JSON object: give specs as {name: value}, or leave them out"


def _an_object(given: object) -> object:
    """Refuse what is no JSON object, as a thing that is missing; nothing at all is an empty one."""
    if given is not None and not isinstance(given, dict):
        raise _NoSpecsError
    if given and "cluster" in given:
        raise ClusterSpecError("cluster is an invalid spec")
    return given or {}


Specs = Annotated[dict[str, Any], BeforeValidator(_an_object)]


class JobRequest(BaseModel):
    """A job to run. Unknown keys are refused."""

    model_config = ConfigDict(extra="forbid")

    action: str | None = None
    specs: Specs = Field(default_factory=dict)
    parent_job_id: JobRef | None = Field(default=None, description="`train` and `batchinfer` start once it is Done.")
    name: Annotated[str, StringConstraints(max_length=500)] = ""
    description: Annotated[str, StringConstraints(max_length=1000)] = ""
    num_gpu: int | None = None
    platform: Platform | None = Field(default=None, description="Shown again; what computes is this installation's.")

    def specs_with_gpus(self) -> dict[str, Any]:
        """Return the specs with the number of GPUs that the body asks for, where they do not say it themselves."""
        return self.specs if self.num_gpu is None else {"num_gpu": self.num_gpu, **self.specs}


class AnnotationSpecs(BaseModel):
    """What `annotation` is told. `train_spec` is flat: our fields and the bundle's overrides together."""

    model_config = ConfigDict(extra="forbid")

    round_size: int
    stop_criteria: StopCriteria = StopCriteria()
    train_spec: dict[str, Any] = Field(default_factory=dict)
    publish: PublishPolicy = "gate"
    gate: GateSpec = GateSpec()
    max_retries: int = 1

    def to_spec(self, *, num_gpu: int | None = None) -> AnnotationSpec:
        """Return what the service is asked for; *num_gpu* where the train_spec says nothing else."""
        default = {} if num_gpu is None else {"num_gpu": num_gpu}
        train = TrainSpec.from_request({**default, **_checked(self.train_spec)})
        return AnnotationSpec(
            round_size=self.round_size,
            stop_criteria=self.stop_criteria,
            train_spec=train,
            publish=self.publish,
            gate=self.gate,
            max_retries=self.max_retries,
        )


class TrainSpecs(BaseModel):
    """What `train` is told: overrides of the bundle, our fields, and what becomes of the result."""

    model_config = ConfigDict(extra="allow")

    publish: PublishPolicy = "none"

    def to_spec(self) -> RoundSpec:
        """Return what the service is asked for."""
        return RoundSpec(train=self._train(), publish=self.publish)

    def to_change(self) -> SpecChange:
        """Return what a paused training is asked to do otherwise: what is said, and nothing else."""
        publish = self.publish if "publish" in self.model_fields_set else None
        return SpecChange(train=self._train(), publish=publish)

    def _train(self) -> TrainSpec:
        return TrainSpec.from_request(_checked(self.model_extra or {}))


class BatchSpecs(BaseModel):
    """What `batchinfer` is told; without a data set, the experiment's for inference. Overrides are not taken."""

    model_config = ConfigDict(extra="ignore")

    dataset_id: str | None = None
    inference_dataset: str | None = None
    train_job_id: str | None = None
    images: list[str] = Field(default_factory=list)
    which: Which = "all"
    write_predictions: bool | None = None
    output: str = ""
    config_file: str | list[str] = Field(default_factory=list)
    num_gpu: int | None = Field(default=None, ge=-1, le=1)

    def to_spec(self) -> BatchSpec:
        """Return what the service is asked for."""
        named = [self.config_file] if isinstance(self.config_file, str) else self.config_file
        others = sorted(name for name in named if PurePosixPath(name).stem not in _OF_INFERENCE)
        if others:
            msg = f"batchinfer runs the bundle's inference configuration, and not {', '.join(others)}"
            raise InvalidRequestError(f"{msg}: leave config_file out")
        said = self.model_dump(exclude={"inference_dataset", "config_file", "num_gpu"})
        return BatchSpec.model_validate({**said, "dataset_id": self.dataset_id or self.inference_dataset})


class InferenceSpecs(BaseModel):
    """What `inference` is told. `bundle_params` holds prompts, and what the bundle names besides."""

    model_config = ConfigDict(extra="ignore")

    image: Annotated[str, StringConstraints(max_length=4096)] = ""
    dataset_id: str | None = None
    bundle_params: dict[str, Any] = Field(default_factory=dict)
    client_id: str = ""

    def to_inference(self) -> Inference:
        """Return what the service is asked for.

        Raises:
            InvalidRequestError: If no image is named.
        """
        if not self.image:
            raise InvalidRequestError("image is required for inference action")
        prompts = {name: self.bundle_params[name] for name in _PROMPTS if self.bundle_params.get(name) is not None}
        rest = {name: value for name, value in self.bundle_params.items() if name not in _PROMPTS}
        spec = InferSpec.model_validate({**prompts, "params": rest})
        return Inference(image=self.image, dataset_id=self.dataset_id, spec=spec, client_id=self.client_id)


class DetailedStatus(BaseModel):
    """When a job's status last changed, and why."""

    date: str
    time: str
    message: str
    status: str


class Kpi(BaseModel):
    """A metric by epoch."""

    metric: str
    values: dict[str, float]

    @classmethod
    def of(cls, result: RoundResult) -> "list[Kpi]":
        """Return the key metric at the epoch whose weights were kept; nothing where nothing was evaluated."""
        found = {str(result.epoch): result.key_metric} if result.key_metric is not None else {}
        return [cls(metric=result.metric_name, values=found)] if found else []


class Category(BaseModel):
    """One label's value."""

    category: str
    value: float | None


class Categories(BaseModel):
    """A metric by label."""

    metric: str
    category_wise_values: list[Category]

    @classmethod
    def of(cls, result: RoundResult) -> "list[Categories]":
        """Return the challenger's metric by label; nothing where nothing was evaluated."""
        by_label = result.challenger.per_label if result.challenger else {}
        found = [Category(category=name, value=value) for name, value in by_label.items()]
        return [cls(metric=result.metric_name, category_wise_values=found)] if found else []


class JobResult(BaseModel):
    """How a job goes, or went. `metric_kind` and what follows it are this system's own.

    `key_metric` is 0 until something was evaluated, as the original says; null where there was no case to evaluate.
    Times are `H:MM:SS`, empty where they are not known; `graphical` is empty: curves are in MLflow.
    """

    detailed_status: DetailedStatus
    graphical: list[Any] = Field(default_factory=list)
    categorical: list[Categories]
    kpi: list[Kpi]
    epoch: int
    max_epoch: int
    starting_epoch: int = 0
    key_metric: float | None
    time_per_epoch: str
    time_per_iter: str
    cur_iter: int
    eta: str
    message: str
    stats: dict[str, Any] = Field(default_factory=dict)
    metric_kind: str | None
    metric_name: str
    metric_cases: int
    decision: str | None
    round: int | None
    rounds_done: int | None
    pending: int | None

    @classmethod
    def of(cls, job: Job) -> "JobResult":
        """Show one job's result."""
        loop = job.action == "annotation"
        result = RoundResult() if job.action in _OTHER_RESULTS else RoundResult.model_validate(job.result)
        metric = job.best_metric if loop else result.key_metric
        day, moment = iso(job.modified_at).split("T")
        return cls(
            detailed_status=DetailedStatus(date=day, time=moment, message=job.message, status=job.status),
            epoch=result.epoch,
            max_epoch=result.max_epoch,
            key_metric=_NO_METRIC_YET if metric is None and result.metric_kind is None else metric,
            categorical=Categories.of(result),
            kpi=Kpi.of(result),
            time_per_epoch=_span(result.step_seconds * result.steps / result.epoch if result.epoch else 0.0),
            time_per_iter=_span(result.step_seconds),
            cur_iter=result.steps,
            eta=_span(result.eta_seconds or 0.0),
            message=job.message,
            stats=_stats(job),
            metric_kind=result.metric_kind,
            metric_name=result.metric_name,
            metric_cases=result.metric_cases,
            decision=result.decision,
            round=job.round_no,
            rounds_done=job.rounds_done if loop else None,
            pending=job.pending if loop else None,
        )


class JobResponse(BaseModel):
    """A job."""

    id: str
    parent_id: str | None
    experiment_id: str
    action: str
    status: str
    result: JobResult
    specs: dict[str, Any]
    name: str
    description: str
    created_on: str
    last_modified: str
    num_gpu: int = 1
    platform: str | None
    sync: bool = False

    @classmethod
    def of(cls, job: Job) -> "JobResponse":
        """Show one job."""
        return cls(
            id=job.id,
            parent_id=job.parent_id or job.after_id,
            experiment_id=job.experiment_id,
            action=job.action,
            status=job.status,
            result=JobResult.of(job),
            specs=job.request,
            name=job.name,
            description=job.description,
            created_on=iso(job.created_at),
            last_modified=iso(job.modified_at),
            platform=job.platform or None,
            num_gpu=int((job.spec.get("train") or job.spec.get("train_spec") or {}).get("num_gpu", 1)),
        )


class JobList(BaseModel):
    """A wrapped list of jobs."""

    jobs: list[JobResponse]
    pagination_info: PaginationInfo | None = None


class Message(BaseModel):
    """A sentence."""

    message: str


def _span(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds))) if seconds else ""


def _stats(job: Job) -> dict[str, Any]:
    if not job.result:
        return {}
    kind: type[BaseModel] = _OTHER_RESULTS.get(job.action, RoundResult)
    return kind.model_validate(job.result).model_dump(mode="json", exclude_none=True)


def _checked(specs: Mapping[str, Any]) -> Mapping[str, Any]:
    """Refuse keys that are nearly right: they would be taken for the bundle's and do nothing."""
    if "num_gpus" in specs:
        raise InvalidRequestError("num_gpus is not a valid key in the specs. Use num_gpu instead.")
    return specs

"""Experiments in this dialect's words."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from configs.errors import InvalidRequestError
from configs.specs.score import AnyStrategy
from infra.adapters.catalog.tables import Bundle, Job
from infra.doors.api.monai_cloud.words import Address, JobRef, Name, PaginationInfo, Text, Version, iso, uuid_of
from infra.doors.api.monai_cloud.workspace_schemas import ResultsIn
from infra.services.learning.archs import actions_of, reason_of
from infra.services.learning.experiment_requests import (
    Datasets,
    ExperimentChange,
    LabelIndex,
    LabelName,
    NewExperiment,
    ShownExperiment,
    output_filename,
)
from infra.services.learning.experiments import ExperimentView
from tasks.bundles.heads import head_of

_REFUSED_OVERRIDES = frozenset({"bundle_root", "workflow_type", "ckpt_dir", "finetune_model_path"})
# Of a caller that names none: a cold start on a busy machine takes longer than the original's minute.
READY_WITHIN_S = 180
_DATASETS = {
    "train_datasets": "train",
    "eval_dataset": "evaluation",
    "inference_dataset": "inference",
    "calibration_dataset": "calibration",
}
MEDICAL = "medical"
_ECHOED = (
    "checkpoint_choose_method",
    "checkpoint_epoch_number",
    "automl_settings",
    "tensorboard_enabled",
    "experiment_actions",
    "retry_experiment_id",
)
_FIXED = ("experiment_params", "base_experiment_metadata", "bundle_url", "additional_id_info")
_SHOWN = ("version", "logo", "model_description", "metric", "shared", "tags", *_ECHOED)
DatasetRef = Annotated[str, AfterValidator(uuid_of("Dataset"))]
ExperimentRef = Annotated[str, AfterValidator(uuid_of("Experiment"))]
TagList = Annotated[
    list[Annotated[str, StringConstraints(max_length=200)]],
    AfterValidator(lambda tags: list(dict.fromkeys(map(str.lower, tags)))),
]


class ModelParams(BaseModel):
    """What is said of the model. `override`: bundle configuration by `#` path."""

    model_config = ConfigDict(extra="allow")

    labels: dict[LabelIndex, LabelName] | None = None
    override: dict[str, Any] = Field(default_factory=dict)
    image_key: str = "image"
    replicas: int = Field(default=1, ge=1, le=16)


class ExperimentRequest(ResultsIn):
    """An experiment to make, or fields to change. Unknown fields are dropped, left-out ones stay as they are."""

    model_config = ConfigDict(extra="ignore")

    name: Name | None = None
    description: Text | None = None
    model_description: Text | None = None
    version: Version | None = None
    logo: Address | None = None
    network_arch: Annotated[str, StringConstraints(max_length=200)] | None = None
    type: Literal["medical", "vision"] | None = None
    base_experiment: list[ExperimentRef] | None = Field(default=None, max_length=2)
    train_datasets: list[DatasetRef] | None = None
    eval_dataset: DatasetRef | None = None
    inference_dataset: DatasetRef | None = None
    realtime_infer: bool | None = None
    realtime_infer_request_timeout: int | None = Field(default=None, ge=1, le=3600)
    model_params: ModelParams | None = None
    bundle_url: Annotated[str, StringConstraints(max_length=1000)] | None = None
    additional_id_info: JobRef | None = None
    metric: str | None = None
    shared: bool | None = None
    tags: TagList | None = None
    calibration_dataset: DatasetRef | None = None
    checkpoint_choose_method: Literal["best_model", "latest_model", "from_epoch_number"] | None = None
    checkpoint_epoch_number: dict[str, Any] | int | None = None
    automl_settings: dict[str, Any] | None = None
    tensorboard_enabled: bool | None = None
    experiment_actions: list[Any] | None = None
    retry_experiment_id: ExperimentRef | None = None
    experiment_params: dict[str, Any] | None = Field(default=None, description="Never read; not to be changed.")
    base_experiment_metadata: dict[str, Any] | None = Field(default=None, description="Never read; not to be changed.")
    strategy: AnyStrategy | None = None

    def to_new(self) -> NewExperiment:
        """Return what the service is asked for.

        Raises:
            InvalidRequestError: If there is no architecture, or something is asked for that is not offered.
        """
        if not self.network_arch:
            raise InvalidRequestError("Invalid network arch: network_arch is required")
        params = _checked(self.model_params or ModelParams())
        timeout_s = self.realtime_infer_request_timeout or READY_WITHIN_S
        shown = {**self._shown(), "override": params.override, "image_key": params.image_key}
        return NewExperiment(
            name=self.name or "My Experiment",
            description=self.description or "",
            arch=self.network_arch,
            base=self.base_experiment or [],
            bundle_url=self.bundle_url or "",
            from_job=self.additional_id_info,
            datasets=self._datasets(),
            labels=params.labels,
            strategy=self.strategy or NewExperiment.model_fields["strategy"].default,
            realtime=bool(self.realtime_infer),
            replicas=params.replicas,
            ready_within_s=timeout_s,
            results=self.results_to(),
            shown=ShownExperiment.model_validate(
                {**shown, "replicas": params.replicas, "request_timeout_s": timeout_s}
            ),
        )

    def to_change(self) -> ExperimentChange:
        """Return what the service is asked to change: what the body names, and nothing else.

        Raises:
            InvalidRequestError: If it names what nobody can change.
        """
        for name in _FIXED:
            if getattr(self, name):
                raise InvalidRequestError(f"Cannot change experiment {name}")
        renamed = {"network_arch": "arch", "realtime_infer": "realtime", "base_experiment": "base"}
        plain = ("name", "description", "network_arch", "realtime_infer", "base_experiment", "strategy")
        said = {
            renamed.get(name, name): getattr(self, name)
            for name in plain
            if name in self.model_fields_set and getattr(self, name) is not None
        }
        shown = self._shown()
        if self.model_params is not None:
            params = _checked(self.model_params)
            if params.labels is not None:
                said["labels"] = params.labels
            if "override" in params.model_fields_set:
                shown["override"] = params.override
        return ExperimentChange(**said, datasets=self._datasets(), results=self.results_to(), shown=shown)

    def _datasets(self) -> Datasets:
        return Datasets.model_validate(
            {use: getattr(self, name) for name, use in _DATASETS.items() if name in self.model_fields_set}
        )

    def _shown(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in _SHOWN if getattr(self, name) is not None}


class JobSummary(BaseModel):
    """What an experiment shows of a job."""

    name: str
    status: str
    action: str
    parent_id: str | None
    created_on: str

    @classmethod
    def of(cls, job: Job) -> "JobSummary":
        """Show one job in short."""
        return cls(
            name=job.name,
            status=job.status,
            action=job.action,
            parent_id=job.parent_id or job.after_id,
            created_on=iso(job.created_at),
        )


class ExperimentResponse(BaseModel):
    """An experiment, or a base experiment."""

    id: str
    created_on: str
    last_modified: str
    name: str
    description: str
    model_description: str
    version: str
    logo: str
    network_arch: str
    type: str = MEDICAL
    base_experiment: list[str]
    train_datasets: list[str]
    eval_dataset: str | None
    inference_dataset: str | None
    calibration_dataset: str | None
    realtime_infer: bool
    realtime_infer_support: bool = True
    realtime_infer_request_timeout: int
    model_params: dict[str, Any]
    public: bool
    read_only: bool
    shared: bool
    metric: str
    tags: list[str]
    checkpoint_choose_method: str
    checkpoint_epoch_number: dict[str, Any] | int
    automl_settings: dict[str, Any]
    tensorboard_enabled: bool
    experiment_actions: list[Any]
    retry_experiment_id: str | None
    actions: list[str]
    dataset_type: str = "semantic_segmentation"
    dataset_formats: list[str] = Field(default_factory=lambda: ["monai"])
    accepted_dataset_intents: list[str] = Field(default_factory=list)
    ngc_path: str
    base_experiment_pull_complete: str = "pull_complete"
    base_experiment_metadata: dict[str, Any] | None
    workspace: str | None
    jobs: dict[str, JobSummary]
    all_jobs_cancel_status: str | None = None
    strategy: str
    bundle: str
    head: str
    published_version: str | None
    published_seq: int

    @classmethod
    def of(cls, view: ExperimentView) -> "ExperimentResponse":
        """Show one experiment."""
        row, bundle = view.row, view.bundle
        shown = ShownExperiment.model_validate(row.shown)
        params: dict[str, Any] = {"labels": row.labels, "image_key": shown.image_key, "replicas": shown.replicas}
        return cls(
            id=row.id,
            created_on=iso(row.created_at),
            last_modified=iso(row.modified_at),
            name=row.name,
            description=row.description,
            model_description=shown.model_description,
            version=shown.version,
            logo=shown.logo,
            network_arch=row.arch,
            base_experiment=[row.base_experiment_id] if row.base_experiment_id else [],
            train_datasets=view.uses.get("train", []),
            eval_dataset=next(iter(view.uses.get("eval", ())), None),
            inference_dataset=next(iter(view.uses.get("inference", ())), None),
            calibration_dataset=next(iter(view.uses.get("calibration", ())), None),
            realtime_infer=row.realtime,
            realtime_infer_request_timeout=shown.request_timeout_s,
            model_params={**params, "override": shown.override} if shown.override else params,
            public=row.base and row.org is None,
            read_only=row.base,
            shared=shown.shared,
            metric=shown.metric,
            tags=shown.tags,
            **{name: getattr(shown, name) for name in _ECHOED},
            actions=actions_of(bundle),
            ngc_path=f"teachback/bundles/{bundle.name}:{bundle.version}",
            base_experiment_metadata=_about(bundle) if row.base else None,
            workspace=row.workspace_id,
            jobs={job.id: JobSummary.of(job) for job in view.jobs},
            strategy=row.strategy,
            bundle=bundle.id,
            head=head_of(bundle, row.labels),
            published_version=row.published_version,
            published_seq=row.published_seq,
        )


class ExperimentList(BaseModel):
    """A wrapped list of experiments."""

    experiments: list[ExperimentResponse]
    pagination_info: PaginationInfo | None = None


class Tags(BaseModel):
    """The tags in use."""

    tags: list[str]


def _about(bundle: Bundle) -> dict[str, Any]:
    return {"description": bundle.description, "tier": bundle.tier, "tier_reason": reason_of(bundle)}


def _checked(params: ModelParams) -> ModelParams:
    refused = sorted(_REFUSED_OVERRIDES & set(params.override))
    if refused:
        raise InvalidRequestError(f"model_params.override may not name {', '.join(refused)}: the system sets them")
    output_filename(params.override)
    if params.labels is not None and not params.labels:
        raise InvalidRequestError("Labels cannot be empty: give model_params.labels as {index: name}, or leave it out")
    return params

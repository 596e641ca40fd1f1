"""What is asked of an experiment, whatever the dialect."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter, ValidationError

from configs.errors import InvalidRequestError
from configs.specs.score import AnyStrategy
from infra.adapters.catalog.experiments import Uses
from infra.services.data.workspaces import ResultsTo

LabelName = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]
_FileName = Annotated[str, StringConstraints(pattern=r"^([A-Za-z0-9][A-Za-z0-9._-]{0,199})?$")]
_FILE_NAME: TypeAdapter[str] = TypeAdapter(_FileName)
LabelIndex = Annotated[int, Field(ge=0, le=65535)]


class ShownExperiment(BaseModel):
    """What callers say about an experiment and see again, and nothing here reads."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    version: str = "1.0.0"
    logo: str = ""
    model_description: str = ""
    metric: str = "kpi"
    shared: bool = False
    tags: list[str] = Field(default_factory=list)
    request_timeout_s: int = 180
    image_key: str = "image"
    override: dict[str, Any] = Field(default_factory=dict)
    replicas: int = 1
    checkpoint_choose_method: str = "best_model"
    checkpoint_epoch_number: dict[str, Any] | int = Field(default_factory=dict)
    automl_settings: dict[str, Any] = Field(default_factory=dict)
    tensorboard_enabled: bool = False
    experiment_actions: list[Any] = Field(default_factory=list)
    retry_experiment_id: str | None = None


def output_filename(override: Mapping[str, object]) -> str:
    """Return what an experiment's overrides call the table of its answers; empty if they say nothing.

    Raises:
        InvalidRequestError: If it is no plain name of a file: it stands in a header of the answer.
    """
    try:
        return _FILE_NAME.validate_python(override.get("output_filename") or "")
    except ValidationError:
        msg = "model_params.override.output_filename is no plain name of a file"
        raise InvalidRequestError(f"{msg}: take letters, digits, '.', '_' and '-', at most 200") from None


_USES = {"train": "train", "evaluation": "eval", "inference": "inference", "calibration": "calibration"}


class Datasets(BaseModel):
    """Data sets by use; None leaves a use as it is."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    train: list[str] | None = None
    evaluation: str | None = None
    inference: str | None = None
    calibration: str | None = None

    def by_use(self) -> Uses:
        """Return what was said, under the names that the catalog has for it."""
        ones = {"eval": self.evaluation, "inference": self.inference, "calibration": self.calibration}
        every: Uses = {"train": self.train or [], **{use: [one] if one else [] for use, one in ones.items()}}
        return {use: every[use] for field, use in _USES.items() if field in self.model_fields_set}


class NewExperiment(BaseModel):
    """What an experiment is made of."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = "My Experiment"
    description: str = ""
    arch: str
    base: list[str] = Field(default_factory=list, max_length=2)
    bundle_url: str = Field(default="", description="Where its bundle comes from, where no base is named.")
    from_job: str | None = Field(default=None, description="Train job of the base whose weights are taken over.")
    datasets: Datasets = Datasets()
    labels: dict[LabelIndex, LabelName] | None = Field(default=None, description="Default: the bundle's own.")
    strategy: AnyStrategy = "entropy"
    realtime: bool = False
    replicas: int = Field(default=1, ge=1, le=16)
    results: ResultsTo | None = None
    ready_within_s: float = Field(default=60.0, gt=0, le=3600)
    shown: ShownExperiment = ShownExperiment()


class ExperimentChange(BaseModel):
    """What is to change; only fields that were set do."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str | None = None
    description: str | None = None
    arch: str | None = Field(default=None, description="May only be named as it is.")
    base: list[str] | None = Field(default=None, description="May only be named as it is.")
    datasets: Datasets = Datasets()
    labels: dict[LabelIndex, LabelName] | None = None
    strategy: AnyStrategy | None = None
    realtime: bool | None = None
    results: ResultsTo | None = None
    shown: dict[str, Any] = Field(default_factory=dict, description="Fields of ShownExperiment.")

"""What a training run needs to know."""

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from configs.errors import InvalidRequestError

# What the original service and its clients send beside overrides of the bundle: read, and not passed to the bundle.
_NOT_OVERRIDES = frozenset(
    {
        "finetune",
        "val_at_start",
        "meta_file",
        "logging_file",
        "cluster",
        "workflow_name",
        "save_execute_config",
        "train#handlers#-1#artifacts",  # how clients of early access said the same
    }
)
# How clients of VISTA-3D say that every label keeps its class.
_AS_THEY_ARE = ("label_mappings", "$default_monai_label_mapping")
_OTHER_NAMES = {
    "train#trainer#max_epochs": "epochs",
    "mlflow_tracking_uri": "tracking_uri",
    "mlflow_experiment_name": "experiment_name",
}
_METADATA = "configs/metadata.json"
_VERSION_ID = r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"
# They name places on the machine that trains, which are ours to choose.
_REFUSED = frozenset({"bundle_root", "workflow_type", "ckpt_dir", "finetune_model_path"})


def _below(name: str) -> str:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name:
        msg = f"{name!r} leads out of the bundle: name a file in it, such as configs/train.json"
        raise ValueError(msg)
    return str(path)


ConfigFile = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_below)]


class TrainSpec(BaseModel):
    """One training run: bounded, and the same spec on the same snapshot gives the same run."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    epochs: int | None = Field(
        default=None, ge=1, le=100_000, description="Passes over the training cases; default: the bundle's own."
    )
    max_steps: int | None = Field(default=None, ge=1, description="Upper bound of training steps.")
    max_minutes: float = Field(
        default=60.0, gt=0, allow_inf_nan=False, description="Upper bound of one round's training time."
    )
    val_interval: int | None = Field(
        default=None, ge=1, description="Epochs between validations; default: the bundle's own, else 1."
    )
    patience: int | None = Field(
        default=None, ge=1, description="Validations without a better one after which training ends."
    )
    learning_rate: float | None = Field(
        default=None, gt=0, allow_inf_nan=False, description="Default: the bundle's own."
    )
    batch_size: int | None = Field(default=None, ge=1, description="Cases per step; default: the bundle's own.")
    precision: Literal["auto", "32-true", "16-mixed", "bf16-mixed"] = Field(
        default="auto", description="Lightning's; auto: mixed on a GPU, full on a CPU. 16-mixed needs a GPU."
    )
    num_gpu: int = Field(
        default=1,
        ge=-1,
        le=64,
        description="Processes that train together, one per GPU; -1: all GPUs, 0: one, on the processor. Without a GPU"
        " they share the cores.",
    )
    start_from: Literal["auto", "base", "published"] | Annotated[str, Field(pattern=_VERSION_ID)] = Field(
        default="auto",
        description="base, published, or a model version's id; auto: base, or published where the base is random.",
    )
    seed: int = Field(default=0, ge=-(2**31), lt=2**31, description="Same seed, same labels: same training.")
    tracking: Literal["mlflow", "none"] | None = Field(
        default=None, description="none: `tracking_uri` is not written to. Our own MLflow always is."
    )
    tracking_uri: str | None = Field(
        default=None, description="An MLflow server that the run is written to besides ours, without a login."
    )
    experiment_name: str | None = Field(
        default=None, min_length=1, max_length=250, description="The experiment there; default: as ours is called."
    )
    config_file: tuple[ConfigFile, ...] = Field(
        default=(),
        max_length=8,
        description="Files of the bundle, each over the one before; default: its own for this.",
    )
    overrides: dict[str, Any] = Field(default_factory=dict, description="Bundle configuration by `#` path.")

    @property
    def tracked_at(self) -> str | None:
        """The MLflow server that is written to besides ours."""
        return None if self.tracking == "none" else self.tracking_uri

    def for_host(self) -> Self:
        """Return what a bundle host is told: it is given no address, so not that of a tracking server either."""
        return self.model_copy(update={"tracking": None, "tracking_uri": None, "experiment_name": None})

    @classmethod
    def from_request(cls, request: Mapping[str, Any]) -> Self:
        """Sort a dialect's flat dictionary into our fields and the bundle's overrides.

        Raises:
            pydantic.ValidationError: If a field's value is refused.
            InvalidRequestError: If other metadata are named than the bundle's, or overrides are not given by name.
        """
        known = {name: value for name, value in request.items() if name in cls.model_fields and name != "overrides"}
        rest = {
            name: value
            for name, value in request.items()
            if name not in cls.model_fields and name not in _NOT_OVERRIDES and (name, value) != _AS_THEY_ARE
        }
        nested = request.get("overrides") or {}
        if not isinstance(nested, Mapping):
            raise InvalidRequestError('overrides: give them by name, as in {"optimizer#lr": 0.001}')
        rest.update(nested)
        if request.get("meta_file") not in (None, _METADATA, [_METADATA]):
            raise InvalidRequestError(
                f"meta_file: a bundle's metadata are in {_METADATA}, and nowhere else; leave it out"
            )
        if isinstance(known.get("config_file"), str):
            known["config_file"] = [known["config_file"]]
        for other, name in _OTHER_NAMES.items():
            if other in rest:
                known.setdefault(name, rest.pop(other))
        return cls(**known, overrides=rest)

    @model_validator(mode="after")
    def _precision_of_device(self) -> Self:
        if self.precision == "16-mixed" and self.num_gpu == 0:
            msg = "precision 16-mixed needs a GPU and num_gpu 0 is the processor: ask for bf16-mixed, 32-true or auto"
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _no_forbidden_override(self) -> Self:
        refused = sorted(_REFUSED & set(self.overrides))
        if refused:
            msg = f"These keys are set by the system and cannot be overridden: {', '.join(refused)}"
            raise ValueError(msg)
        return self

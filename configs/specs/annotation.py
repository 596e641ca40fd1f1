"""What an annotation job, the continual-learning loop, is asked to do."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from configs.specs.train import TrainSpec


class StopCriteria(BaseModel):
    """When the loop ends; a missing one is no criterion."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_rounds: int | None = Field(default=None, ge=1)
    key_metric: float | None = None


class GateSpec(BaseModel):
    """The rule by which a challenger is published (rules in `tasks/publishing/gate.py`)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    min_cases: int = Field(
        default=5, ge=1, description="Paired evaluation cases from which the evidence counts as strong."
    )
    margin: float = Field(default=0.005, ge=0, description="The lower confidence bound may be this far below zero.")
    max_class_drop: float = Field(default=0.05, ge=0)
    confidence: float = Field(default=0.95, gt=0.5, lt=1)


PublishPolicy = Literal["gate", "auto", "review", "none"]


class AnnotationSpec(BaseModel):
    """One continual-learning loop."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    round_size: int = Field(ge=1, le=100_000)
    stop_criteria: StopCriteria = StopCriteria()
    train_spec: TrainSpec = TrainSpec()
    publish: PublishPolicy = "gate"
    gate: GateSpec = GateSpec()
    max_retries: int = Field(default=1, ge=0, le=10)

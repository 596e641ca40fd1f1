"""What a round leaves behind in words and numbers; doors, artifacts and MLflow all show this."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

from tasks.publishing.gate import Verdict

MetricKind = Literal["holdout", "prequential"]


class VersionScores(BaseModel):
    """One model version on the round's cases. Dice from 0 to 1; None where nothing was measured."""

    model_config = ConfigDict(frozen=True)

    version: str | None
    mean: float | None = None
    per_label: dict[str, float | None] = {}


class RoundResult(BaseModel):
    """A round, in the end. `labels` are those of the data set that is annotated, whichever side they are on."""

    model_config = ConfigDict(frozen=True)

    labels: int = 0
    training_cases: int = 0
    metric_kind: MetricKind | None = None
    metric_cases: int = 0
    key_metric: float | None = None
    published: VersionScores | None = None
    challenger: VersionScores | None = None
    verdict: Verdict | None = None
    decision: Literal["published", "kept_back", "review", "skipped"] | None = None
    reason: str = ""
    epoch: int = 0
    max_epoch: int = 0
    steps: int = 0
    train_seconds: float | None = None
    start_seconds: float | None = None
    attempts: int = 1
    isolation: str = ""

"""What a round leaves behind in words and numbers; doors, artifacts and MLflow all show this."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

from tasks.publishing.gate import Verdict

MetricKind = Literal["holdout", "prequential"]
_MOST_NAMED = 20


class VersionScores(BaseModel):
    """One model version on the round's cases, from 0 to 1; None where nothing was measured."""

    model_config = ConfigDict(frozen=True)

    version: str | None
    mean: float | None = None
    per_label: dict[str, float | None] = {}


class CohortResult(BaseModel):
    """One cohort's evaluation cases.

    Forgetting is the best value that any published version had on the cohort, in this round or an earlier one, minus
    the challenger's now; what is negative was gained. Source: Chaudhry et al., "Riemannian Walk for Incremental
    Learning", ECCV 2018, section 3, with published versions in place of tasks.
    """

    model_config = ConfigDict(frozen=True)

    cohort: str
    cases: int
    published: VersionScores
    challenger: VersionScores
    best_earlier: float | None = None
    forgetting: float | None = None
    forgetting_per_label: dict[str, float] = {}


class RoundResult(BaseModel):
    """A round, in the end. `labels` are those of the data set that is annotated, whichever side they are on.

    `metric_name` is the bundle's key metric, `mean_dice` where that is none of ours; `metric_cases` counts the cases
    of `key_metric`. `prequential_mean` is over all rounds so far, each new label once. `forgetting` is the largest of
    the cohorts'. `scores_reused` were measured in an earlier round and not run again. `left_out` are images (catalog
    ids) that took no part, since they or their labels cannot be read. `max_steps` and `eta_seconds` are known while it
    trains.
    """

    model_config = ConfigDict(frozen=True)

    labels: int = 0
    training_cases: int = 0
    left_out: list[int] = []
    metric_kind: MetricKind | None = None
    metric_name: str = ""
    metric_cases: int = 0
    key_metric: float | None = None
    published: VersionScores | None = None
    challenger: VersionScores | None = None
    cohorts: list[CohortResult] = []
    forgetting: float | None = None
    prequential_mean: float | None = None
    prequential_cases: int = 0
    scores_reused: int = 0
    head_rebuilt: bool = False
    verdict: Verdict | None = None
    decision: Literal["published", "kept_back", "review", "declined", "skipped"] | None = None
    reason: str = ""
    epoch: int = 0
    max_epoch: int = 0
    steps: int = 0
    max_steps: int = 0
    eta_seconds: float | None = None
    train_seconds: float | None = None
    start_seconds: float | None = None
    attempts: int = 1
    isolation: str = ""
    batch_at_once: int | None = None
    precision: str = ""
    ranks: int = 1

    @property
    def step_seconds(self) -> float:
        """The seconds that a training step takes; 0 = not known."""
        if self.eta_seconds is not None and self.max_steps > self.steps:
            return self.eta_seconds / (self.max_steps - self.steps)
        return (self.train_seconds or 0.0) / self.steps if self.steps else 0.0

    def left_out_told(self) -> str:
        """Return which images took no part, the first few; empty = none was left out."""
        if not self.left_out:
            return ""
        named = ", ".join(map(str, self.left_out[:_MOST_NAMED])) + (" …" if len(self.left_out) > _MOST_NAMED else "")
        return f"Left out, since they or their labels cannot be read: images {named}."

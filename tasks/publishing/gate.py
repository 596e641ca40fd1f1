"""The rule by which a challenger is published or kept back.

Like is compared with like: both versions on the same cases of today, paired. The verdict says which rule decided,
with the numbers, so that a person can judge the judge.
"""

import math
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from configs.specs.annotation import GateSpec, PublishPolicy

# The bound is a 5th percentile: with 500 of them beyond it, it hardly moves with the seed.
RESAMPLES = 10_000
_RULES = frozenset({"paired evidence", "weak evidence", "unproven"})
Outcome = Literal["publish", "kept_back", "review"]
Rule = Literal["paired evidence", "weak evidence", "unproven", "auto", "review", "none"]


class CaseScore(BaseModel):
    """One version on one case.

    The bundle's key metric (else Dice) from 0 to 1 by label name; None where reference and prediction both lack it.
    """

    model_config = ConfigDict(frozen=True)

    per_label: dict[str, float | None]
    mean: float | None
    empty: bool = False
    finite: bool = True
    metric: str = "mean_dice"

    @property
    def sound(self) -> bool:
        """Whether something finite was predicted where there is something to find."""
        return self.finite and not self.empty


class PairedCase(BaseModel):
    """Both versions on one case."""

    model_config = ConfigDict(frozen=True)

    case: str
    published: CaseScore
    challenger: CaseScore


class Verdict(BaseModel):
    """What was decided, by which rule, on which numbers."""

    model_config = ConfigDict(frozen=True)

    outcome: Outcome
    rule: Rule
    reason: str
    cases: int = Field(description="Evaluation cases that both versions were scored on.")
    published_mean: float | None = None
    challenger_mean: float | None = None
    mean_difference: float | None = None
    lower_bound: float | None = Field(default=None, description="One-sided bootstrap bound of the mean difference.")
    label_differences: dict[str, float] = {}

    def told(self) -> str:
        """Return rule, reason and numbers in one line."""
        numbers = []
        if self.published_mean is not None and self.challenger_mean is not None:
            numbers.append(f"mean {self.published_mean:.4f} -> {self.challenger_mean:.4f} on {self.cases} cases")
        if self.lower_bound is not None:
            numbers.append(f"lower bound of the gain {self.lower_bound:+.4f}")
        # The policies are named by their reasons already.
        rule = f"{self.rule}: " if self.rule in _RULES else ""
        return f"{rule}{self.reason}" + (f" ({', '.join(numbers)})" if numbers else "")


def judge(policy: PublishPolicy, spec: GateSpec, pairs: list[PairedCase], trained_on: list[CaseScore]) -> Verdict:
    """Decide about a challenger.

    Args:
        policy: `gate` applies the rule; `auto` publishes; `review` leaves it to a person; `none` keeps it.
        spec: The rule's numbers.
        pairs: Both versions on today's evaluation cases.
        trained_on: The challenger on training cases; decides only where there is no evaluation case at all.
    """
    pairs = [pair for pair in pairs if _has_mean(pair)]
    numbers = _numbers(spec, pairs)
    if policy == "gate":
        return _gate(spec, pairs, trained_on, numbers)
    outcome: Outcome = {"auto": "publish", "review": "review", "none": "kept_back"}[policy]  # type: ignore[assignment]  # the values are outcomes
    reason = {
        "auto": "every finished challenger is published",
        "review": "waits for a person",
        "none": "this job publishes nothing",
    }[policy]
    return numbers.model_copy(update={"outcome": outcome, "rule": policy, "reason": reason})


def bootstrap_lower_bound(differences: list[float], confidence: float, *, seed: int = 0) -> float:
    """Return the one-sided lower confidence bound of the mean difference (percentile bootstrap).

    Args:
        differences: Challenger minus published, one per case; at least one.
        confidence: Such as 0.95.
        seed: Of the resampling; the same input gives the same bound.

    Source:
        Efron, Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13.
    """
    values = np.asarray(differences, dtype=np.float64)
    # Seeded: whoever judges the same numbers again gets the same verdict.
    picks = np.random.default_rng(seed).integers(0, len(values), size=(RESAMPLES, len(values)))
    return float(np.quantile(values[picks].mean(axis=1), 1.0 - confidence))


def _gate(spec: GateSpec, pairs: list[PairedCase], trained_on: list[CaseScore], numbers: Verdict) -> Verdict:
    unsound = [pair.case for pair in pairs if not pair.challenger.sound]
    if not pairs:
        rule: Rule = "unproven"
        against = "" if all(case.sound for case in trained_on) else "a prediction is empty or not finite"
        against = against if trained_on else "there is no labelled case to try it on"
        basis = f"no evaluation case yet; predictions on {len(trained_on)} training cases are finite and not empty"
    elif len(pairs) < spec.min_cases:
        rule = "weak evidence"
        lower = (numbers.mean_difference or 0.0) < 0
        against = "the mean is lower" if lower else ""
        basis = f"the mean on {len(pairs)} of {spec.min_cases} wanted cases is not lower"
    else:
        rule = "paired evidence"
        against = _objection(spec, numbers)
        basis = f"better on {len(pairs)} paired cases"
    endless = [pair.case for pair in pairs if not pair.challenger.finite]
    if endless or (unsound and rule == "paired evidence"):
        against = f"the prediction of {len(unsound)} cases is empty or not finite"
    outcome: Outcome = "kept_back" if against else "publish"
    return numbers.model_copy(update={"outcome": outcome, "rule": rule, "reason": against or basis})


def _objection(spec: GateSpec, numbers: Verdict) -> str:
    if not (numbers.mean_difference or 0.0) > 0:
        return f"the mean does not rise ({numbers.mean_difference:+.4f})"
    if numbers.lower_bound is None or numbers.lower_bound <= -spec.margin:
        return f"the lower bound of the gain, {numbers.lower_bound:+.4f}, is not above {-spec.margin:+.4f}"
    fallen = {name: gain for name, gain in numbers.label_differences.items() if gain < -spec.max_class_drop}
    if fallen:
        worst = min(fallen, key=lambda name: fallen[name])
        return f"{worst} falls by {-fallen[worst]:.3f}, more than {spec.max_class_drop}"
    return ""


def _numbers(spec: GateSpec, pairs: list[PairedCase]) -> Verdict:
    empty = Verdict(outcome="kept_back", rule="none", reason="", cases=len(pairs))
    if not pairs:
        return empty
    published = [pair.published.mean or 0.0 for pair in pairs]
    challenger = [pair.challenger.mean or 0.0 for pair in pairs]
    differences = [after - before for before, after in zip(published, challenger, strict=True)]
    return empty.model_copy(
        update={
            "published_mean": float(np.mean(published)),
            "challenger_mean": float(np.mean(challenger)),
            "mean_difference": float(np.mean(differences)),
            "lower_bound": bootstrap_lower_bound(differences, spec.confidence),
            "label_differences": _by_label(pairs),
        }
    )


def _by_label(pairs: list[PairedCase]) -> dict[str, float]:
    """Return the mean paired difference of each label, over the cases in which both versions have a value."""
    found: dict[str, list[float]] = {}
    for pair in pairs:
        for name, before in pair.published.per_label.items():
            after = pair.challenger.per_label.get(name)
            if before is not None and after is not None:
                found.setdefault(name, []).append(after - before)
    return {name: float(np.mean(values)) for name, values in found.items()}


def _has_mean(pair: PairedCase) -> bool:
    """Say whether there was anything to find in the case: a challenger that predicts nothing finite still counts."""
    before = pair.published.mean
    return before is not None and not math.isnan(before)

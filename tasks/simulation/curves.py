"""Learning curves and what is read off them."""

import statistics
from collections.abc import Sequence
from itertools import pairwise

from pydantic import BaseModel, ConfigDict

NEARLY = 0.95
"""The target, where none is named: this share of the best strategy's mean at its end."""


class Point(BaseModel):
    """How a model trained on so many labels did on the held-out cases: mean over cases and labels, and by label.

    `at` says when that was measured, in seconds since 1970.
    """

    model_config = ConfigDict(frozen=True)

    labels: int
    mean: float
    per_label: dict[str, float] = {}
    at: float = 0.0


class Curve(BaseModel):
    """One strategy with one seed, round by round."""

    model_config = ConfigDict(frozen=True)

    strategy: str
    seed: int
    points: list[Point]

    @property
    def area(self) -> float:
        """Return the area under the curve by trapezoids, divided by its width: the mean height, 0..1."""
        width = self.points[-1].labels - self.points[0].labels
        if not width:
            return self.points[0].mean
        parts = (
            (after.labels - before.labels) * (before.mean + after.mean) / 2 for before, after in pairwise(self.points)
        )
        return sum(parts) / width

    def labels_to(self, target: float) -> float | None:
        """Return how many labels reach the target first, between two rounds on a straight line; None = not reached."""
        if self.points[0].mean >= target:
            return float(self.points[0].labels)
        for before, after in pairwise(self.points):
            if before.mean < target <= after.mean:
                share = (target - before.mean) / (after.mean - before.mean)
                return before.labels + share * (after.labels - before.labels)
        return None


class Spread(BaseModel):
    """A mean over seeds, and their sample standard deviation: None of one seed."""

    model_config = ConfigDict(frozen=True)

    mean: float
    deviation: float | None

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """Return the spread of these values, one or more."""
        return cls(mean=statistics.fmean(values), deviation=statistics.stdev(values) if len(values) > 1 else None)


class Summary(BaseModel):
    """What a strategy came to. `labels_to_target` over the seeds that reached it; None where none did."""

    model_config = ConfigDict(frozen=True)

    strategy: str
    seeds: int
    final: Spread
    area: Spread
    reached: int
    labels_to_target: Spread | None


class Simulated(BaseModel):
    """All curves of a simulation. `metric` is what their values are of; `held_out` counts the cases."""

    model_config = ConfigDict(frozen=True)

    dataset: str
    experiment: str
    metric: str
    pool: int
    held_out: int
    target: float
    curves: list[Curve]

    def strategies(self) -> list[str]:
        """Return the strategies in the order in which they were asked for."""
        return list(dict.fromkeys(curve.strategy for curve in self.curves))

    def of(self, strategy: str) -> list[Curve]:
        """Return one strategy's curves, seed by seed."""
        return [curve for curve in self.curves if curve.strategy == strategy]

    def summaries(self) -> list[Summary]:
        """Return what each strategy came to."""
        return [self._summary(strategy) for strategy in self.strategies()]

    def _summary(self, strategy: str) -> Summary:
        curves = self.of(strategy)
        reached = [labels for curve in curves if (labels := curve.labels_to(self.target)) is not None]
        return Summary(
            strategy=strategy,
            seeds=len(curves),
            final=Spread.of([curve.points[-1].mean for curve in curves]),
            area=Spread.of([curve.area for curve in curves]),
            reached=len(reached),
            labels_to_target=Spread.of(reached) if reached else None,
        )


def usual_target(curves: Sequence[Curve]) -> float:
    """Return 95 % of the best strategy's mean at its end: something that at least one comes to."""
    ends: dict[str, list[float]] = {}
    for curve in curves:
        ends.setdefault(curve.strategy, []).append(curve.points[-1].mean)
    return NEARLY * max(statistics.fmean(values) for values in ends.values())

"""A simulation's curves in MLflow: a run for each strategy and seed, a point per round."""

import time

from infra.adapters.tracking.base import MetricPoint
from infra.wiring import Parts
from tasks.simulation.curves import Simulated


def track(parts: Parts, found: Simulated, key: str) -> None:
    """Write curves and what they came to; safe to repeat.

    Args:
        parts: The adapters.
        found: The curves.
        key: Names the simulation: the same one is not shown twice.

    Raises:
        TrackingError: If MLflow does not answer.
    """
    at = time.time()
    group = f"simulation of {found.experiment}"
    for curve in found.curves:
        name = f"{curve.strategy}, seed {curve.seed}"
        tags = {"strategy": curve.strategy, "seed": str(curve.seed), "metric": found.metric}
        run = parts.tracking.ensure_run(group, f"{key}-{curve.strategy}-{curve.seed}", name=name, started=at, tags=tags)
        points = [MetricPoint("mean", point.mean, point.labels, at) for point in curve.points]
        points += [
            MetricPoint(f"by label/{label}", value, point.labels, at)
            for point in curve.points
            for label, value in point.per_label.items()
        ]
        last = curve.points[-1].labels
        points.append(MetricPoint("area", curve.area, last, at))
        reached = curve.labels_to(found.target)
        points += [MetricPoint("labels to target", reached, last, at)] if reached is not None else []
        parts.tracking.log_metrics(run, points)
        parts.tracking.end_run(run, "FINISHED", at=at)

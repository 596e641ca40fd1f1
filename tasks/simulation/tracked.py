"""A simulation's curves in MLflow: a run for each strategy and seed, a point per round."""

from infra.adapters.tracking.base import MetricPoint
from infra.wiring import Parts
from tasks.simulation.curves import Simulated


def track(parts: Parts, found: Simulated, key: str) -> None:
    """Write curves and what they came to; safe to repeat: each point has the time at which it was measured.

    Args:
        parts: The adapters.
        found: The curves.
        key: Names the simulation: the same one is not shown twice.

    Raises:
        TrackingError: If MLflow does not answer.
    """
    group = f"simulation of {found.experiment}"
    for curve in found.curves:
        name = f"{curve.strategy}, seed {curve.seed}"
        tags = {"strategy": curve.strategy, "seed": str(curve.seed), "metric": found.metric}
        # What two simulations share was measured once, so the first round may be the newest.
        times, last = sorted(point.at for point in curve.points), curve.points[-1]
        run = parts.tracking.ensure_run(
            group, f"{key}-{curve.strategy}-{curve.seed}", name=name, started=times[0], tags=tags
        )
        points = [MetricPoint("mean", point.mean, point.labels, point.at) for point in curve.points]
        points += [
            MetricPoint(f"by label/{label}", value, point.labels, point.at)
            for point in curve.points
            for label, value in point.per_label.items()
        ]
        points.append(MetricPoint("area", curve.area, last.labels, last.at))
        reached = curve.labels_to(found.target)
        if reached is not None:
            # By its target: of two values at one step and time, MLflow would show the greater.
            points.append(MetricPoint(f"labels to {found.target:.3f}", reached, last.labels, last.at))
        parts.tracking.log_metrics(run, points)
        parts.tracking.end_run(run, "FINISHED", at=times[-1])

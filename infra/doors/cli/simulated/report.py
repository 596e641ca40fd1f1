"""A simulation in words and numbers."""

import csv
from pathlib import Path

from infra.doors.cli.terminal import show_table, terminal
from tasks.simulation.curves import Simulated, Spread, Summary

CAVEAT = (
    "This is about these images, this bundle and this way of training alone; a difference smaller than the spread over"
    " seeds says nothing."
)


def show(found: Simulated) -> None:
    """Print what each strategy came to, with its spread over seeds."""
    show_table(
        f"{found.metric} on {found.held_out} held-out cases; {found.pool} cases to choose from",
        {
            "strategy": lambda row: row.strategy,
            "at the end": lambda row: _spread(row.final),
            "area under the curve": lambda row: _spread(row.area),
            f"labels to {found.target:.3f}": _labels,
        },
        found.summaries(),
        none="Nothing was simulated.",
    )
    terminal().print(CAVEAT, markup=False)


def write_csv(found: Simulated, target: Path) -> None:
    """Write a line for each strategy, seed and round."""
    names = sorted({name for curve in found.curves for point in curve.points for name in point.per_label})
    with target.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["strategy", "seed", "labels", found.metric, *names])
        for curve in found.curves:
            for point in curve.points:
                values = [point.mean, *(point.per_label.get(name) for name in names)]
                shown = ["" if value is None else f"{value:.6f}" for value in values]
                rows.writerow([curve.strategy, curve.seed, point.labels, *shown])


def _spread(found: Spread, digits: int = 3) -> str:
    mean = f"{found.mean:.{digits}f}"
    return mean if found.deviation is None else f"{mean} ± {found.deviation:.{digits}f}"


def _labels(row: Summary) -> str:
    if row.labels_to_target is None:
        return "not reached"
    some = "" if row.reached == row.seeds else f" ({row.reached} of {row.seeds} seeds)"
    return _spread(row.labels_to_target, 1) + some

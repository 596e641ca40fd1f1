"""Learning curves as a picture: the mean over seeds, and from the lowest to the highest of them."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from tasks.simulation.curves import Simulated

# Told apart with every kind of colour vision: Okabe and Ito, 2008.
_COLOURS = ("#000000", "#e69f00", "#56b4e9", "#009e73", "#d55e00", "#cc79a7", "#0072b2", "#f0e442")
_INCHES = (6.4, 4.2)


def draw(found: Simulated, target: Path) -> None:
    """Write the picture as PNG."""
    figure = Figure(figsize=_INCHES, layout="constrained")
    axis = figure.subplots()
    for number, strategy in enumerate(found.strategies()):
        curves = found.of(strategy)
        labels = [point.labels for point in curves[0].points]
        values = np.array([[point.mean for point in curve.points] for curve in curves])
        colour = _COLOURS[number % len(_COLOURS)]
        axis.plot(labels, values.mean(0), marker="o", color=colour, label=strategy)
        axis.fill_between(labels, values.min(0), values.max(0), color=colour, alpha=0.15, linewidth=0)
    axis.axhline(found.target, linestyle=":", color="gray", label="target")
    seeds = len(found.of(found.strategies()[0]))
    axis.set(
        xlabel="labels",
        ylabel=f"{found.metric}, {found.held_out} held-out cases",
        title=f"{seeds} seeds, mean and range" if seeds > 1 else "one seed",
    )
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.legend(loc="lower right", frameon=False)
    axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(target, dpi=120)

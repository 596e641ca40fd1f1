"""The demo as a picture: Dice round by round, and one held-out case as the first and the last model see it."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from infra.doors.cli.play.report import Comparison, Round

LabelMap = npt.NDArray[np.integer]
Pixels = npt.NDArray[np.floating]
_COLOURS = ("#e69f00", "#56b4e9", "#d55e00", "#009e73", "#cc79a7", "#f0e442")
_INCHES = (13.0, 3.4)


def draw(
    target: Path,
    rounds: list[Round],
    found: Comparison,
    image: Pixels,
    maps: Mapping[str, LabelMap],
) -> None:
    """Write the picture as PNG.

    Args:
        target: The file.
        rounds: The demo's rounds, first to last.
        found: The model before and after, and what needs no model, on the held-out cases.
        image: One held-out image, axes (i, j, k) in LPS.
        maps: Title → label map on the image's grid.
    """
    figure = Figure(figsize=_INCHES, layout="constrained")
    axes = figure.subplots(1, 1 + len(maps), width_ratios=[1.7, *([1.0] * len(maps))])
    _curve(axes[0], rounds, found)
    truth = next(iter(maps.values()))
    level = _fullest(truth)
    for axis, (title, labels) in zip(axes[1:], maps.items(), strict=True):
        _slice(axis, title, image[:, :, level], labels[:, :, level])
    figure.savefig(target, dpi=110)


def _fullest(truth: LabelMap) -> int:
    """Return the slice in which the rarest label is largest."""
    values = np.unique(truth[truth > 0])
    areas = [(truth == value).sum(axis=(0, 1)) for value in values]
    return int(np.argmax(np.min(areas, axis=0)))


def _curve(axis: Axes, rounds: list[Round], found: Comparison) -> None:
    """Draw mean Dice of what is served after each round."""
    served = [found.start.mean]
    for row in rounds:
        scores = row.challenger if row.decision == "published" else row.published
        served.append(scores.mean if scores is not None and scores.mean is not None else served[-1])
    labels = [0, *(row.labels for row in rounds)]
    axis.plot(labels, served, marker="o", color="black", label="served model")
    axis.axhline(found.template.mean, linestyle="--", color="#0072b2", label="template copied")
    axis.axhline(found.baseline.mean, linestyle=":", color="#d55e00", label="intensity thresholds")
    axis.set(xlabel="labels saved", ylabel=f"mean Dice, {found.cases} held-out cases", ylim=(0, 1), xticks=labels)
    axis.legend(loc="lower right", frameon=False)
    axis.spines[["top", "right"]].set_visible(False)


def _slice(axis: Axes, title: str, pixels: Pixels, labels: LabelMap) -> None:
    """Draw one axial slice as radiologists see it: the patient's right is on the left."""
    axis.imshow(pixels.T, cmap="gray", origin="upper", interpolation="nearest")
    shown = np.ma.masked_equal(labels.T, 0)
    axis.imshow(
        shown, cmap=ListedColormap(_COLOURS), vmin=0.5, vmax=len(_COLOURS) + 0.5, alpha=0.6, interpolation="nearest"
    )
    axis.set_title(title, fontsize=10)
    axis.set_axis_off()

"""The metric by which a bundle's authors judge it, where we can compute it ourselves."""

from collections.abc import Callable
from typing import Any, NamedTuple

from torch import Tensor

from tasks.compute.loader.config import Config
from tasks.compute.metrics.dice import dice
from tasks.compute.metrics.iou import iou

FALLBACK = "mean_dice"
Overlap = Callable[[Tensor, Tensor], float | None]
# MONAI's handlers whose value is a mean over classes of something from 0 to 1 that is better when larger.
_OVERLAPS: dict[str, Overlap] = {"MeanDice": dice, "MeanIoUHandler": iou}


class KeyMetric(NamedTuple):
    """What the bundle calls it, and its value for one label: of reference and predicted mask."""

    name: str
    overlap: Overlap


def key_metric_of(training: Config | None, *, exclusive: bool) -> KeyMetric:
    """Return the bundle's `validate#key_metric`, or the mean foreground Dice where that is none of ours.

    It is none of ours if it is no overlap of masks (an accuracy, a distance), or counts the background as a class,
    which annotators do not draw.

    Args:
        training: The bundle's training configuration; None = it has none.
        exclusive: Whether the network has a channel for the background.
    """
    written = training.raw("validate#key_metric") if training else None
    if isinstance(written, dict) and len(written) == 1:
        ((name, handler),) = written.items()
        overlap = _overlap(handler, exclusive=exclusive)
        if overlap is not None:
            return KeyMetric(str(name)[:200], overlap)
    return KeyMetric(FALLBACK, dice)


def _overlap(handler: Any, *, exclusive: bool) -> Overlap | None:
    if not isinstance(handler, dict):
        return None
    background = exclusive and handler.get("include_background", True) is not False
    return None if background else _OVERLAPS.get(str(handler.get("_target_", "")).rpartition(".")[2])

"""The metric by which a bundle's authors judge it, where we can compute it ourselves."""

from collections.abc import Callable
from typing import Any, NamedTuple

from configs.kinds import LabelKind
from tasks.compute.loader.config import Config
from tasks.compute.metrics.accuracy import hit
from tasks.compute.metrics.counts import Counts
from tasks.compute.metrics.dice import dice
from tasks.compute.metrics.iou import iou

FALLBACK = "mean_dice"
Overlap = Callable[[Counts], float | None]
# MONAI's handlers whose value is a mean over classes of something from 0 to 1 that is better when larger.
_OVERLAPS: dict[str, Overlap] = {"MeanDice": dice, "MeanIoUHandler": iou}
_OF_CLASSES: dict[str, Overlap] = {"Accuracy": hit}


class KeyMetric(NamedTuple):
    """What the bundle calls it, and its value for one label."""

    name: str
    overlap: Overlap


def fallback_of(kind: LabelKind) -> KeyMetric:
    """Return what a bundle is judged by that says nothing of it that we can compute."""
    return KeyMetric("accuracy", hit) if kind == "class" else KeyMetric(FALLBACK, dice)


def key_metric_of(training: Config | None, *, exclusive: bool, kind: LabelKind = "mask") -> KeyMetric:
    """Return the bundle's `validate#key_metric`, or the mean foreground Dice where that is none of ours.

    It is none of ours if it is no overlap of masks (an accuracy, a distance), or counts the background as a class,
    which annotators do not draw.

    Args:
        training: The bundle's training configuration; None = it has none.
        exclusive: Whether the network has a channel for the background.
        kind: What the network says of an image. The class of one is judged by the accuracy.
    """
    written = training.raw("validate#key_metric") if training else None
    if isinstance(written, dict) and len(written) == 1:
        ((name, handler),) = written.items()
        overlap = _overlap(handler, exclusive=exclusive, kind=kind)
        if overlap is not None:
            return KeyMetric(str(name)[:200], overlap)
    return fallback_of(kind)


def _overlap(handler: Any, *, exclusive: bool, kind: LabelKind) -> Overlap | None:
    if not isinstance(handler, dict):
        return None
    named = str(handler.get("_target_", "")).rpartition(".")[2]
    if kind == "class":
        return _OF_CLASSES.get(named)
    background = exclusive and handler.get("include_background", True) is not False
    return None if background else _OVERLAPS.get(named)

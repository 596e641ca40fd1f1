"""Masks that contain each other: the regions that MONAI's transform makes of BraTS's labels.

A label map says each voxel once, so it holds the innermost region: a voxel of the whole tumour that is no core, one of
the core that does not enhance, an enhancing one. Everything here speaks so of them: what annotators draw, what is
predicted, and training targets until the loss asks for masks. (nnU-Net paints its regions in the same way:
Isensee et al., "nnU-Net for Brain Tumor Segmentation", BrainLes 2020, doi:10.1007/978-3-030-72087-2_11.)
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from monai.transforms import ConvertToMultiChannelBasedOnBratsClassesd

from tasks.compute.failures import BadInputError
from tasks.compute.loader.channels import Channels
from tasks.compute.loader.config import Config

_TRANSFORM = "ConvertToMultiChannelBasedOnBratsClasses"
# Channels 0, 1, 2 of that transform: the core, the whole tumour, what enhances.
_WITHIN = {0: frozenset({2}), 1: frozenset({0, 2}), 2: frozenset[int]()}


def with_regions(channels: Channels, training: Config | None) -> Channels:
    """Return the channels as regions that contain each other, if the bundle's training makes such of its labels.

    Raises:
        BadInputError: If the experiment has other names: what contains what is not known of them.
    """
    if training is None or not _mentions(training.raw("train")):
        return channels
    if channels.rebuilt or len(channels.names) != len(_WITHIN):
        raise BadInputError(
            "The bundle's masks are regions of a tumour that contain each other, made by"
            f" {_TRANSFORM}: an experiment has some of its own labels, and no others"
        )
    return replace(channels, unions=_WITHIN, nested=True)


class OneMap:
    """In place of the transform: leaves the label one map, of which the regions are made when the loss is.

    Args:
        key: The label's; with or without an axis of channels before it.
    """

    def __init__(self, key: str) -> None:
        self._key = key

    def __call__(self, item: dict[str, Any]) -> dict[str, Any]:
        """Return the item with its label of shape (1, i, j, k)."""
        label = item[self._key]
        return {**item, self._key: label.unsqueeze(0) if label.dim() == len("ijk") else label}


def without_regions(transforms: Sequence[Any], label: str) -> list[Any]:
    """Return a bundle's transforms with those that make regions taken out."""
    kind = ConvertToMultiChannelBasedOnBratsClassesd
    return [OneMap(label) if isinstance(each, kind) else each for each in transforms]


def _mentions(written: Any) -> bool:
    """Say whether a configuration has the transform anywhere."""
    if isinstance(written, Mapping):
        named = str(written.get("_target_", "")).rpartition(".")[2]
        return named == f"{_TRANSFORM}d" or any(map(_mentions, written.values()))
    return isinstance(written, list) and any(map(_mentions, written))

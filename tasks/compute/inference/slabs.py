"""Decide slab by slab, where a whole answer would not fit: 117 labels of a CT at 1.5 mm are 31 GB of logits."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from monai.data.utils import dense_patch_slices
from monai.inferers import Inferer, SlidingWindowInferer
from monai.utils import fall_back_tuple
from torch import Tensor

from tasks.compute.failures import NotFiniteError
from tasks.compute.inference.decide import label_map
from tasks.compute.loader.channels import Channels
from tasks.compute.loader.network import first_tensor

MOST_VALUES = 200_000_000
"""Logits that are held at once: more than these many are decided in slabs."""
_OF_A_SLAB = 5


def needs_slabs(inferer: Inferer, image: Tensor, channels: Channels, most: int) -> bool:
    """Say whether an image of shape (1, channel, i, j, k) is decided in slabs.

    It is if its answer has more than *most* values, and all of a window's voxels count alike.
    """
    large = image[0, 0].numel() * len(channels.names) > most
    return large and isinstance(inferer, SlidingWindowInferer) and inferer.mode == "constant"


def decide_in_slabs(
    inferer: Any,
    image: Tensor,
    window: Callable[[Tensor], Tensor],
    tell: Callable[[Tensor], Tensor],
    channels: Channels,
    *,
    most: int,
) -> Tensor:
    """Return the label index per voxel, uint8, shape (i, j, k), as of the whole answer's `label_map`.

    Args:
        inferer: A sliding window whose overlaps are plain means.
        image: Shape (1, channel, i, j, k).
        window: What the network sees in a window: (batch, feature, i, j, k).
        tell: Logits of features, (batch, class, i, j, k); linear, so that means may be taken before it.
        channels: What the logits stand for.
        most: Logits that are held at once, about.

    Raises:
        NotFiniteError: If a logit is NaN or infinite.
    """
    decided = torch.empty(image.shape[2:], dtype=torch.uint8, device=image.device)
    axis = max(range(3), key=lambda each: image.shape[2 + each])
    plane = image[0, 0].numel() // image.shape[2 + axis] * len(channels.names)
    planes = max(1, most // _OF_A_SLAB // plane)
    for begin, features in _slabs(inferer, image, window, axis):
        for first in range(0, features.shape[2 + axis], planes):
            count = min(planes, features.shape[2 + axis] - first)
            logits = tell(features.narrow(2 + axis, first, count))[0]
            require_finite(logits)
            decided.narrow(axis, begin + first, count).copy_(label_map(logits, channels))
    return decided


def require_finite(logits: Tensor) -> None:
    """Refuse logits of which one is NaN or infinite.

    Raises:
        NotFiniteError: If one is.
    """
    if not bool(torch.isfinite(logits.sum())):
        raise NotFiniteError("The network's answer holds NaN or infinity")


def _slabs(inferer: Any, image: Tensor, window: Callable[[Tensor], Tensor], axis: int) -> Iterator[tuple[int, Tensor]]:
    """Yield the mean over the windows, slab by slab along an axis, with each slab's first plane.

    A slab is as thick as a window; its planes are done with once no later window covers them.
    """
    length = image.shape[2 + axis]
    thick = min(length, fall_back_tuple(inferer.roi_size, image.shape[2:])[axis])
    overlap = inferer.overlap[axis] if isinstance(inferer.overlap, list | tuple) else inferer.overlap
    starts = [each.start for (each,) in dense_patch_slices((length,), (thick,), (max(1, int(thick * (1 - overlap))),))]
    covered = torch.zeros(length, device=image.device)
    for start in starts:
        covered[start : start + thick] += 1
    held: Tensor | None = None
    for start, until in zip(starts, [*starts[1:], length], strict=True):
        slab = first_tensor(inferer(image.narrow(2 + axis, start, thick), window)).float()
        if held is not None:
            shared = held.shape[2 + axis]
            slab.narrow(2 + axis, 0, shared).add_(held)
        done, held = torch.split(slab, [until - start, thick - (until - start)], 2 + axis)
        done.div_(covered[start:until].reshape([-1 if each == axis else 1 for each in range(3)]))
        held = held.clone()
        yield start, done
        del slab, done  # before the next one is made

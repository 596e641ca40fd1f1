"""Logits slab by slab, where a whole answer would not fit: 117 labels of a CT at 1.5 mm are 31 GB of them."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from monai.data.utils import dense_patch_slices
from monai.inferers import Inferer, SlidingWindowInferer
from monai.utils import fall_back_tuple
from torch import Tensor, nn

from tasks.compute.failures import NotFiniteError
from tasks.compute.inference.decide import label_map
from tasks.compute.loader.channels import Channels
from tasks.compute.loader.network import first_tensor
from tasks.compute.prompts.network import Prompted

MOST_VALUES = 200_000_000
"""Logits that are held at once: more than these many are decided in slabs."""
_OF_A_SLAB = 5


Look = Callable[..., object]
Tell = Callable[[Tensor], Tensor]


class Part(NamedTuple):
    """Logits of an image, shape (channel, i, j, k): of some planes of an axis, or of all of it (`axis` None)."""

    logits: Tensor
    axis: int | None = None
    first: int = 0

    def of(self, volume: Tensor) -> Tensor:
        """Return the same planes of a volume of shape (i, j, k)."""
        if self.axis is None:
            return volume
        return volume.narrow(self.axis, self.first, self.logits.shape[1 + self.axis])


def halves(network: nn.Module, classes: Sequence[int] | None = None) -> tuple[Look, Tell]:
    """Return what a network sees in a window, and the logits of that, before which means over windows may be taken.

    Of a network that takes prompts these are features, far fewer than logits; *classes* are those that are wanted.
    """
    if isinstance(network, Prompted):
        return network.look, partial(network.tell, classes=classes)
    return network, as_it_is


def as_it_is(logits: Tensor) -> Tensor:
    """Return the logits of what a network sees where these are what it answers."""
    return logits


def needs_slabs(inferer: Inferer, image: Tensor, channels: Channels, most: int) -> bool:
    """Say whether an image of shape (1, channel, i, j, k) is answered in slabs.

    It is if its answer has more than *most* values, and all of a window's voxels count alike.
    """
    large = image[0, 0].numel() * len(channels.names) > most
    return large and isinstance(inferer, SlidingWindowInferer) and inferer.mode == "constant"


def in_slabs(
    inferer: Any,
    image: Tensor,
    window: Look,
    tell: Tell,
    channels: Channels,
    *,
    most: int,
) -> Iterator[Part]:
    """Yield the answer, plane by plane along its longest axis.

    Args:
        inferer: A sliding window whose overlaps are plain means.
        image: Shape (1, channel, i, j, k).
        window: What the network sees in a window: (batch, feature, i, j, k).
        tell: Logits of features, (batch, class, i, j, k); linear, so that means may be taken before it.
        channels: What the logits stand for.
        most: Logits that are held at once, about.
    """
    axis = max(range(image.ndim - 2), key=lambda each: image.shape[2 + each])
    plane = image[0, 0].numel() // image.shape[2 + axis] * len(channels.names)
    planes = max(1, most // _OF_A_SLAB // plane)
    for begin, features in _slabs(inferer, image, window, axis):
        for first in range(0, features.shape[2 + axis], planes):
            count = min(planes, features.shape[2 + axis] - first)
            yield Part(tell(features.narrow(2 + axis, first, count))[0], axis, begin + first)


def decide_in_slabs(
    inferer: Any,
    image: Tensor,
    window: Look,
    tell: Tell,
    channels: Channels,
    *,
    most: int,
) -> Tensor:
    """Return the label index per voxel, uint8, shape (i, j, k), as of the whole answer's `label_map`.

    Args: as of `in_slabs`.

    Raises:
        NotFiniteError: If a logit is NaN or infinite.
    """
    decided = torch.empty(image.shape[2:], dtype=torch.uint8, device=image.device)
    for part in in_slabs(inferer, image, window, tell, channels, most=most):
        require_finite(part.logits)
        part.of(decided).copy_(label_map(part.logits, channels))
    return decided


def require_finite(logits: Tensor) -> None:
    """Refuse logits of which one is NaN or infinite.

    Raises:
        NotFiniteError: If one is.
    """
    if not bool(torch.isfinite(logits.sum())):
        raise NotFiniteError("The network's answer holds NaN or infinity")


def _slabs(inferer: Any, image: Tensor, window: Look, axis: int) -> Iterator[tuple[int, Tensor]]:
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
        done.div_(covered[start:until].reshape([-1 if each == axis else 1 for each in range(image.ndim - 2)]))
        held = held.clone()
        yield start, done
        del slab, done  # before the next one is made

"""Predictive entropy: how undecided a network is, where it sees something."""

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from tasks.compute.inference.decide import label_map
from tasks.compute.loader.channels import Channels
from tasks.compute.scoring.subject import Scored, Subject

_AROUND = 2


def entropy(subject: Subject) -> Scored:
    """Score an image by the mean entropy of one prediction."""
    logits = subject.answer(subject.image)
    if subject.channels.kind == "class":
        return Scored(class_entropy(logits, subject.channels))
    foreground = label_map(logits, subject.channels) > 0
    return Scored(mean_entropy(logits, foreground, exclusive=subject.channels.exclusive))


def mean_entropy(logits: Tensor, foreground: Tensor, *, exclusive: bool) -> float:
    r"""Return the mean entropy of the decision over the predicted foreground and two voxels around it.

    $$H = -\sum_c p_c \ln p_c$$, divided by its largest value, so that classes do not count: 0..1.

    Args:
        logits: Shape (channel, i, j, k).
        foreground: Shape (i, j, k), True where anything is predicted. If empty, the whole image counts.
        exclusive: Softmax over channels; else the mean of the channels' binary entropies.

    Source:
        Shannon, "A Mathematical Theory of Communication", Bell System Technical Journal 27, 1948.
    """
    around = surroundings(foreground)
    if around is None:
        return float(entropies(logits, exclusive=exclusive).mean())
    return _mean(entropies(logits[:, *around.box], exclusive=exclusive), around.mask)


def class_entropy(logits: Tensor, channels: Channels) -> float:
    """Return the entropy of a whole image's class, of those that the experiment has; range and source as above.

    Args:
        logits: Shape (channel,).
        channels: What they stand for.
    """
    return float(entropies(logits.flatten()[list(channels.foreground)], exclusive=True))


def entropies(logits: Tensor, *, exclusive: bool) -> Tensor:
    """Return the entropy of each voxel's decision, shape (i, j, k); arguments and range as of `mean_entropy`."""
    if exclusive and len(logits) == 2:  # noqa: PLR2004 (background and one label: half the work of the general form)
        odds = logits[1] - logits[0]
        return (functional.softplus(odds) - torch.sigmoid(odds).mul_(odds)).div_(math.log(2))
    if exclusive:
        logs = torch.log_softmax(logits, 0)
        return -(logs.exp() * logs).sum(0) / math.log(max(2, logits.shape[0]))
    chance = torch.sigmoid(logits)
    inside = functional.logsigmoid(logits)
    outside = functional.logsigmoid(-logits)
    return -(chance * inside + (1 - chance) * outside).mean(0) / math.log(2)


def mean_around(values: Tensor, foreground: Tensor) -> float:
    """Return the mean of values (i, j, k) over the foreground and two voxels around it; if it is empty, over all."""
    around = surroundings(foreground)
    return float(values.mean()) if around is None else _mean(values[around.box], around.mask)


class Surroundings(NamedTuple):
    """The smallest box that holds a foreground and what lies around it, and which voxels of the box those are."""

    box: tuple[slice, ...]
    mask: Tensor


def surroundings(foreground: Tensor) -> Surroundings | None:
    """Return the voxels at most two away from the foreground along each axis; None if it is empty."""
    box = []
    for axis in range(foreground.dim()):
        others = [other for other in range(foreground.dim()) if other != axis]
        found = foreground.any(dim=others).nonzero().flatten()
        if not len(found):
            return None
        box.append(slice(max(0, int(found[0]) - _AROUND), int(found[-1]) + _AROUND + 1))
    mask = foreground[tuple(box)]
    # A cube grows from a voxel by growing it along one axis after the other: a fifth of a 3-D pooling's work.
    for axis in range(mask.dim()):
        grown, length = mask.clone(), mask.shape[axis]
        for step in range(1, min(_AROUND + 1, length)):
            grown.narrow(axis, step, length - step).logical_or_(mask.narrow(axis, 0, length - step))
            grown.narrow(axis, 0, length - step).logical_or_(mask.narrow(axis, step, length - step))
        mask = grown
    return Surroundings(tuple(box), mask)


def _mean(values: Tensor, mask: Tensor) -> float:
    return float((values * mask).sum() / mask.sum())

"""Predictive entropy: how undecided a network is, where it sees something."""

import math

import torch
from torch import Tensor
from torch.nn import functional

from tasks.compute.inference.decide import label_map
from tasks.compute.scoring.subject import Scored, Subject

_DILATION = 5


def entropy(subject: Subject) -> Scored:
    """Score an image by the mean entropy of one prediction."""
    logits = subject.answer(subject.image)
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
    if exclusive:
        logs = torch.log_softmax(logits, 0)
        entropies = -(logs.exp() * logs).sum(0) / math.log(max(2, logits.shape[0]))
    else:
        chance = torch.sigmoid(logits)
        inside = functional.logsigmoid(logits)
        outside = functional.logsigmoid(-logits)
        entropies = -(chance * inside + (1 - chance) * outside).mean(0) / math.log(2)
    return mean_around(entropies, foreground)


def mean_around(values: Tensor, foreground: Tensor) -> float:
    """Return the mean of values (i, j, k) over the foreground and two voxels around it; if it is empty, over all."""
    if not bool(foreground.any()):
        return float(values.mean())
    pool = functional.max_pool3d if foreground.dim() == 3 else functional.max_pool2d  # noqa: PLR2004 (three axes)
    around = pool(foreground[None, None].float(), _DILATION, stride=1, padding=_DILATION // 2)[0, 0] > 0
    return float(values[around].mean())

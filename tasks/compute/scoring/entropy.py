"""Predictive entropy: how undecided a network is, where it sees something."""

import math

import torch
from torch import Tensor
from torch.nn import functional

_DILATION = 5


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
        entropy = -(logs.exp() * logs).sum(0) / math.log(max(2, logits.shape[0]))
    else:
        chance = torch.sigmoid(logits)
        inside = functional.logsigmoid(logits)
        outside = functional.logsigmoid(-logits)
        entropy = -(chance * inside + (1 - chance) * outside).mean(0) / math.log(2)
    if not bool(foreground.any()):
        return float(entropy.mean())
    pool = functional.max_pool3d if foreground.dim() == 3 else functional.max_pool2d  # noqa: PLR2004 (three axes)
    around = pool(foreground[None, None].float(), _DILATION, stride=1, padding=_DILATION // 2)[0, 0] > 0
    return float(entropy[around].mean())

"""Learn only from what an annotator drew."""

import torch
from torch import Tensor

# Small enough for a probability of 0 in float32. Not -inf, which times 0 is NaN, nor below what float16 can hold.
_NEVER = -1e4


def mask_logits(logits: Tensor, drawn: Tensor, *, exclusive: bool) -> Tensor:
    """Return logits in which classes that were not drawn make no error and get no gradient of their own.

    With exclusive classes, what was not drawn is somewhere within the background of this label: its
    probability is added to the background's. With masks, its channel answers "nothing", as the label does.

    Args:
        logits: Shape (batch, channel, i, j, k).
        drawn: Shape (batch, channel), True where the annotator drew the channel; background is always known.
        exclusive: Softmax over channels with background first, else a sigmoid per channel.

    Source:
        The marginal loss of Shi et al., "Marginal loss and exclusion loss for partially supervised
        multi-organ segmentation", Medical Image Analysis 70, 2021, doi:10.1016/j.media.2021.101979.
    """
    if bool(drawn[:, 1 if exclusive else 0 :].all()):
        return logits
    # In half precision the sum of exponentials would lose the classes that were not drawn.
    logits = logits.float()
    open_ = drawn.reshape(*drawn.shape, *(1,) * (logits.dim() - 2)).to(logits.device)
    never = torch.full_like(logits, _NEVER)
    known = torch.where(open_, logits, never)
    if not exclusive:
        return known
    unknown = torch.where(open_, never, logits)
    unknown[:, 0] = logits[:, 0]
    background = torch.logsumexp(unknown, dim=1, keepdim=True)
    return torch.cat([background, known[:, 1:]], dim=1)

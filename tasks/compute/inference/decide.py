"""From a network's answer to channels, and to an experiment's labels."""

from collections.abc import Sequence

import torch
from torch import Tensor

from tasks.compute.loader.channels import Channels


def winners(logits: Tensor) -> Tensor:
    """Return the channel with the largest logit per voxel, the first of several, as int16 of shape (i, j, k).

    Channel by channel over whole volumes: `argmax` over the outermost axis takes thirty times as long on a processor.

    Args:
        logits: Shape (channel, i, j, k), finite.
    """
    return _chosen([*logits], range(len(logits)), torch.int16)


def masks(logits: Tensor, channels: Channels) -> dict[int, Tensor]:
    """Return a mask per channel that stands for a label; *logits* has shape (channel, i, j, k)."""
    if channels.exclusive:
        winner = winners(logits)
        return {channel: winner == channel for channel in channels.foreground}
    return {channel: logits[channel] > 0 for channel in channels.foreground}


def label_map(logits: Tensor, channels: Channels) -> Tensor:
    """Return the experiment's label index per voxel, uint8, shape (i, j, k).

    Masks may overlap: the likeliest one wins, but of nested ones the innermost. Channels that the experiment has no
    label for become background.
    """
    if channels.nested:
        return _innermost(logits > 0, channels)
    if channels.exclusive:
        return _chosen([*logits], channels.labels, torch.uint8)
    return _chosen([torch.zeros_like(logits[0]), *logits], (0, *channels.labels), torch.uint8)


def _innermost(masks: Tensor, channels: Channels) -> Tensor:
    """Paint the masks, each over those that contain it."""
    painted = torch.zeros_like(masks[0], dtype=torch.uint8)
    for channel in sorted(channels.foreground, key=lambda one: -len(channels.unions[one])):
        painted.masked_fill_(masks[channel], channels.labels[channel])
    return painted


def spread(target: Tensor, channels: Channels) -> Tensor:
    """Return training targets of shape (batch, 1, i, j, k) as a loss takes them: nested masks, a channel for each."""
    if not channels.nested:
        return target
    values = [[channel + 1, *(part + 1 for part in parts)] for channel, parts in sorted(channels.unions.items())]
    masks = [torch.isin(target, torch.tensor(own, device=target.device)) for own in values]
    return torch.cat(masks, dim=1).to(target.dtype)


def _chosen(layers: Sequence[Tensor], values: Sequence[int], kind: torch.dtype) -> Tensor:
    """Return the value that belongs to the largest of the layers, the first of several, per voxel."""
    chosen = torch.full_like(layers[0], values[0], dtype=kind)
    best = layers[0].clone()
    for layer, value in zip(layers[1:], values[1:], strict=True):
        chosen.masked_fill_(layer > best, value)
        torch.maximum(best, layer, out=best)
    return chosen


def target_mask(label: Tensor, channel: int, channels: Channels) -> Tensor:
    """Return the voxels that a training target gives to a channel, and to the parts of what it is a union of."""
    shift = 0 if channels.exclusive else 1
    mask = label == channel + shift
    for part in channels.unions.get(channel, ()):
        mask |= label == part + shift
    return mask

"""From a network's answer to channels, and to an experiment's labels."""

import torch
from torch import Tensor

from tasks.compute.loader.channels import Channels


def masks(logits: Tensor, channels: Channels) -> dict[int, Tensor]:
    """Return a mask per channel that stands for a label; *logits* has shape (channel, i, j, k)."""
    if channels.exclusive:
        winner = logits.argmax(0)
        return {channel: winner == channel for channel in channels.foreground}
    return {channel: logits[channel] > 0 for channel in channels.foreground}


def label_map(logits: Tensor, channels: Channels) -> Tensor:
    """Return the experiment's label index per voxel, uint8, shape (i, j, k).

    Masks may overlap; the likeliest one wins. Channels that the experiment has no label for become background.
    """
    table = torch.tensor(channels.labels, dtype=torch.uint8, device=logits.device)
    if channels.exclusive:
        return table[logits.argmax(0)]
    best, winner = logits.max(0)
    return torch.where(best > 0, table[winner], torch.zeros_like(table[:1]))


def target_mask(label: Tensor, channel: int, channels: Channels) -> Tensor:
    """Return the voxels that a training target gives to a channel."""
    return label == (channel if channels.exclusive else channel + 1)

"""From a network's answer to the class of a whole image."""

import torch
from torch import Tensor

from configs.wire.answers import ClassAnswer
from tasks.compute.loader.channels import Channels


def class_answer(logits: Tensor, channels: Channels) -> ClassAnswer:
    """Return how likely each of the experiment's classes is: a softmax over the channels that stand for one.

    Args:
        logits: Shape (channel,), finite.
        channels: What they stand for.
    """
    used = list(channels.foreground)
    chances = torch.softmax(logits.flatten()[used].double(), 0).tolist()
    said = {channels.labels[channel]: chance for channel, chance in zip(used, chances, strict=True)}
    return ClassAnswer(index=max(said, key=lambda index: said[index]), probabilities=said)

"""What a scoring method is given, and what it answers."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn

from configs.wire.host import ScoredBy
from tasks.compute.loader.channels import Channels


@dataclass(frozen=True)
class Subject:
    """One image, and the network that is to say how much labelling it would teach.

    Attributes:
        network: In evaluation mode; a method that changes it puts it back.
        image: Preprocessed, shape (channel, i, j, k).
        answer: Applies the network to such an image; returns logits of shape (channel, i, j, k), float32.
        channels: What the network's channels stand for.
    """

    network: nn.Module
    image: Tensor
    answer: Callable[[Tensor], Tensor]
    channels: Channels


@dataclass(frozen=True)
class Scored:
    """A score, larger = label it sooner, and how it was come by where there is more than one way."""

    score: float
    by: ScoredBy = ""

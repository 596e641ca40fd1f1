"""What a scoring method is given, and what it answers."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from configs.wire.host import ScoredBy
from tasks.compute.loader.channels import Channels

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Subject:
    """One image, and the network that is to say how much labelling it would teach.

    Attributes:
        network: In evaluation mode; a method that changes it puts it back.
        image: Preprocessed, shape (channel, i, j, k).
        answer: Applies the network to such an image; returns logits of shape (channel, i, j, k), float32.
        channels: What the network's channels stand for.
        passes: Predictions that are compared, where they differ at random; 0 = as the method has it.
    """

    network: nn.Module
    image: Tensor
    answer: Callable[[Tensor], Tensor]
    channels: Channels
    passes: int = 0


@dataclass(frozen=True)
class Scored:
    """A score, larger = label it sooner, and how it was come by where there is more than one way.

    A method that orders images beside each other tells `features` of each, as many numbers of every image. Its score
    holds until that order is made; None = at random till then.
    """

    score: float | None
    by: ScoredBy = ""
    features: tuple[float, ...] = ()


@dataclass(frozen=True)
class Beside:
    """Images that are ordered beside each other.

    Attributes:
        features: What was told of each, shape (image, feature).
        taken: Which are labelled or given to somebody already, shape (image,): they get no place in the order.
        progress: How far the annotation is, 0..1.
        seed: Of what is drawn at random.
    """

    features: Floats
    taken: NDArray[np.bool_]
    progress: float
    seed: int


@dataclass(frozen=True)
class Method:
    """One scoring method: what it says of one image, and how it orders images beside each other, if it does.

    `order` returns a score per image, shape (image,), finite; those of taken images are not looked at.
    """

    score: Callable[[Subject], Scored]
    order: Callable[[Beside], Floats] | None = None

"""A network that takes prompts, as one that answers a channel per label."""

import copy
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Any

import torch
from monai.networks.nets import VISTA3D
from torch import Tensor

from tasks.compute.prompts.classes import Prompts


class Prompted(VISTA3D):  # type: ignore[misc]  # MONAI's types are not read
    """VISTA-3D with the classes that it is asked for where nothing else is said.

    Its layers are the network's own and so are their names: a version's weights are VISTA-3D's, whatever the labels.

    Args:
        network: The network.
        prompts: What its bundle says of its prompts.
        classes: Its class per output channel.

    Attributes:
        unlearnt: Classes that nothing has taught these weights: they are found around clicks alone.
    """

    def __init__(self, network: VISTA3D, prompts: Prompts, classes: Sequence[int]) -> None:
        super().__init__(network.image_encoder, network.class_head, network.point_head)
        self.prompts = prompts
        self.classes = tuple(classes)
        self.unlearnt: frozenset[int] = frozenset()

    def as_published(self) -> None:
        """Note that these are the weights that the bundle came with: no class of an experiment's own is in them."""
        self.unlearnt = frozenset(number for number in self.classes if self.prompts.is_own(number))

    def asked(self, classes: Sequence[int]) -> "Prompted":
        """Return this network, its layers shared, asked for other classes."""
        other = copy.copy(self)
        other.classes = tuple(classes)
        return other

    def forward(self, patch: Tensor, classes: Sequence[int] | None = None, **clicks: Any) -> Tensor:
        """Return logits of shape (batch, class, i, j, k); of a merged class the largest of its parts.

        Args:
            patch: Shape (batch, 1, i, j, k).
            classes: The classes wanted; None = every channel's.
            clicks: The network's own arguments, where a batch of one is answered with clicks.
        """
        if clicks:
            answered: Tensor = super().forward(patch, **clicks, transpose=True)
            return answered
        return self.tell(self.look(patch), classes)

    def look(self, patch: Tensor) -> Tensor:
        """Return what the automatic answers of all classes are made of: (batch, feature, i, j, k)."""
        _, features = self.image_encoder(patch, with_point=False, with_label=True)
        mapped: Tensor = self.class_head.image_post_mapping(features)
        return mapped

    def tell(self, features: Tensor, classes: Sequence[int] | None = None) -> Tensor:
        """Return logits of features; arguments and result as of `forward`. Of one class they are linear in features."""
        parts = [self.prompts.parts_of(number) for number in (self.classes if classes is None else classes)]
        asked = torch.tensor([[number] for part in parts for number in part], device=features.device)
        embedded = self.class_head.class_embeddings(asked)
        if self.class_head.use_mlp:
            embedded = self.class_head.mlp(embedded)
        return union(torch.einsum("cf,bf...->bc...", embedded[:, 0], features), parts)


def union(answer: Tensor, parts: Sequence[Sequence[int]]) -> Tensor:
    """Return the largest logit of each class's parts: (batch, class, i, j, k) for (batch, part, i, j, k)."""
    if answer.shape[1] == len(parts):
        return answer
    ends = accumulate((len(part) for part in parts), initial=0)
    return torch.stack([answer[:, first:last].amax(1) for first, last in pairwise(ends)], 1)

"""The scoring methods by name. To add one: write its module, add its line, and its name in configs/specs/score.py."""

from typing import Protocol

from torch import Tensor

from configs.specs.score import ScoringMethod
from tasks.compute.scoring.entropy import mean_entropy


class Method(Protocol):
    """Says how much labelling an image would teach; larger = sooner."""

    def __call__(self, logits: Tensor, foreground: Tensor, *, exclusive: bool) -> float:
        """Return the score of logits (channel, i, j, k) with what is predicted in them (i, j, k)."""
        ...


METHODS: dict[ScoringMethod, Method] = {
    "entropy": mean_entropy,
}

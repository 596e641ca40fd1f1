"""What overlaps are made of: counted in parts, where a mask is too large to be held."""

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor


@dataclass(frozen=True)
class Counts:
    """Voxels of two masks, of the reference and of what was predicted, and those that both have."""

    reference: int = 0
    predicted: int = 0
    both: int = 0

    @classmethod
    def of(cls, reference: Tensor, predicted: Tensor) -> Self:
        """Count two masks of one shape."""
        both = torch.logical_and(reference, predicted)
        return cls(int(reference.count_nonzero()), int(predicted.count_nonzero()), int(both.count_nonzero()))

    def __add__(self, other: "Counts") -> "Counts":
        """Return the counts of both parts."""
        return Counts(self.reference + other.reference, self.predicted + other.predicted, self.both + other.both)

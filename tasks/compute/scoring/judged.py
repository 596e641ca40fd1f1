"""What a method that scores labels is given: somebody's label, and the published model's answer beside it."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Judged:
    """One label map and what a model says of its image, on the image's own grid.

    Attributes:
        label: Indices of the experiment's labels, shape (i, j, k), of a picture (i, j).
        drawn: The indices that the label speaks about.
        spacing: Of the voxels along these axes, mm.
        answer: Returns the model's label map, as `label`; it is asked only by who needs it.
    """

    label: Tensor
    drawn: tuple[int, ...]
    spacing: tuple[float, ...]
    answer: Callable[[], Tensor]

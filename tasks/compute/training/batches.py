"""What goes through the network in one step: items stacked where their shapes agree, side by side where they do not."""

from collections.abc import Iterator, Sequence
from typing import Any

from monai.data import list_data_collate
from torch import Tensor

from tasks.compute.loader.pipeline import LABEL

Batch = dict[str, Any]


def collate(items: Sequence[Any]) -> list[Batch]:
    """Return the batch of a step: one stack, or a stack for each item where they cannot be stacked.

    Args:
        items: One for each case: an item, or a list of patches.
    """
    flat = [one for item in items for one in (item if isinstance(item, list) else [item])]
    return [list_data_collate(flat)] if len({_shapes(one) for one in flat}) == 1 else [*map(_alone, flat)]


def size_of(batch: Sequence[Batch]) -> int:
    """Return the number of items of a step."""
    return sum(len(stack[LABEL]) for stack in batch)


def pieces(batch: Sequence[Batch], most: int) -> Iterator[tuple[Batch, slice]]:
    """Yield what goes through the network at a time, *most* items at the most."""
    for stack in batch:
        size = len(stack[LABEL])
        for first in range(0, size, most):
            yield stack, slice(first, min(first + most, size))


def alone(batch: Sequence[Batch]) -> list[Batch]:
    """Return a step's items as a stack each."""
    return [{name: value[piece] for name, value in stack.items()} for stack, piece in pieces(batch, 1)]


def _alone(item: Any) -> Batch:
    stack: Batch = list_data_collate([item])
    return stack


def _shapes(item: Any) -> frozenset[tuple[str, Any]]:
    return frozenset((name, value.shape) for name, value in item.items() if isinstance(value, Tensor))

"""Dice, with its undefined case."""

import torch

from tasks.compute.metrics.counts import Counts
from tasks.compute.metrics.dice import dice, mean


def test_dice_is_twice_the_overlap_over_the_sizes() -> None:
    reference, predicted = torch.zeros(2, 4, dtype=torch.bool)
    reference[:2], predicted[1:3] = True, True
    assert dice(Counts.of(reference, predicted)) == 0.5
    assert dice(Counts.of(reference, reference)) == 1
    assert dice(Counts.of(reference, ~reference)) == 0


def test_a_class_in_neither_is_left_out() -> None:
    nothing = torch.zeros(4, dtype=torch.bool)
    assert dice(Counts.of(nothing, nothing)) is None
    assert mean([1.0, None, 0.5]) == 0.75
    assert mean([None]) is None

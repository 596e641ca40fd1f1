"""What is said of labels that exist; values by hand."""

import math

import pytest
import torch
from torch import Tensor

from tasks.compute.scoring.dice import dice
from tasks.compute.scoring.judged import Judged
from tasks.compute.scoring.surface import surface
from tasks.compute.scoring.total import total


def _plane(at: int, value: int = 1) -> Tensor:
    """A slice of a cube that is a label."""
    cube = torch.zeros(6, 6, 6, dtype=torch.uint8)
    cube[at] = value
    return cube


def _judged(label: Tensor, answer: Tensor, drawn: tuple[int, ...] = (1,)) -> Judged:
    return Judged(label, drawn, (2.0, 1.0, 1.0), lambda: answer)


def _unasked() -> Tensor:
    raise AssertionError("the model was asked")


def test_dice_is_the_mean_over_drawn_labels() -> None:
    label, answer = _plane(1) + _plane(3, 2), _plane(1) + _plane(2) + _plane(3, 2) + _plane(5, 3)
    assert dice(_judged(label, answer)) == pytest.approx(2 * 36 / (36 + 72))
    assert dice(_judged(label, answer, (1, 2))) == pytest.approx((2 / 3 + 1) / 2), "3 was not drawn"
    assert dice(_judged(_plane(1), _plane(1), (1, 3))) == 1, "nobody has a 3"


def test_surfaces_three_slices_of_two_millimetres_apart_are_six_millimetres_apart() -> None:
    assert surface(_judged(_plane(1), _plane(4))) == pytest.approx(6)
    assert surface(_judged(_plane(1), _plane(1))) == 0


def test_what_only_one_has_is_as_far_as_the_image_reaches() -> None:
    nothing = torch.zeros(6, 6, 6, dtype=torch.uint8)
    assert surface(_judged(_plane(1), nothing)) == pytest.approx(math.sqrt(12**2 + 6**2 + 6**2))
    assert surface(_judged(nothing, nothing)) == 0


def test_the_sum_counts_voxels_and_asks_no_model() -> None:
    label = _plane(1) + _plane(3, 2) + _plane(4, 7)
    assert total(Judged(label, (1, 2), (1.0, 1.0, 1.0), _unasked)) == 72

"""Entropy tells the undecided from the decided, whatever the label ids are."""

import math

import pytest
import torch
from torch.nn import functional

from tasks.compute.scoring.entropy import entropies, mean_around, mean_entropy

NOWHERE = torch.zeros(4, 4, 4, dtype=torch.bool)
EVERYWHERE = ~NOWHERE


@pytest.mark.parametrize("classes", [2, 5, 105])
def test_a_decided_network_scores_zero_and_an_undecided_one_scores_one(classes: int) -> None:
    logits = torch.zeros(classes, 4, 4, 4)
    assert mean_entropy(logits, EVERYWHERE, exclusive=True) == pytest.approx(1, abs=1e-5)
    logits[classes - 1] = 100
    assert mean_entropy(logits, EVERYWHERE, exclusive=True) == pytest.approx(0, abs=1e-5)


def test_masks_are_judged_one_by_one() -> None:
    assert mean_entropy(torch.zeros(3, 4, 4, 4), EVERYWHERE, exclusive=False) == pytest.approx(1)
    assert mean_entropy(torch.full((3, 4, 4, 4), 100.0), EVERYWHERE, exclusive=False) == pytest.approx(0, abs=1e-5)


def test_the_foreground_counts_and_the_whole_image_only_where_there_is_none() -> None:
    logits = torch.zeros(2, 20, 4, 4)
    logits[0, 10:] = 100
    left = torch.zeros(20, 4, 4, dtype=torch.bool)
    left[:4] = True
    assert mean_entropy(logits, left, exclusive=True) == pytest.approx(1, abs=1e-5)
    assert mean_entropy(logits, torch.zeros_like(left), exclusive=True) == pytest.approx(0.5, abs=1e-5)


def test_two_classes_are_scored_as_any_number_is() -> None:
    logits = torch.randn(2, 6, 6, 6, generator=torch.Generator().manual_seed(0)) * 5
    chances = torch.softmax(logits.double(), 0)
    general = -(chances * chances.log()).sum(0) / math.log(2)
    assert torch.allclose(entropies(logits, exclusive=True).double(), general, atol=1e-5)


@pytest.mark.parametrize("share", [0.3, 0.002])
def test_the_surroundings_reach_two_voxels_along_each_axis(share: float) -> None:
    generator = torch.Generator().manual_seed(1)
    values = torch.rand(12, 3, 1, generator=generator)
    foreground = torch.rand(values.shape, generator=generator) < share
    foreground[0, 0, 0] = True
    pooled = functional.max_pool3d(foreground[None, None].float(), 5, stride=1, padding=2)[0, 0] > 0
    assert mean_around(values, foreground) == pytest.approx(float(values[pooled].mean()), abs=1e-6)

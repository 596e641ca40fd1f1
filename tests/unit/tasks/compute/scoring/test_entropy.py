"""Entropy tells the undecided from the decided, whatever the label ids are."""

import pytest
import torch

from tasks.compute.scoring.entropy import mean_entropy

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

"""Half precision is kept only while it decides as float32 does."""

import torch

from tasks.compute.inference.arrangement import agree, decisions

SHAPE = (1, 20, 20, 20)


def _decided(inside: int) -> torch.Tensor:
    decided = torch.zeros(SHAPE, dtype=torch.int16)
    decided[0, :inside] = 1
    return decided


def test_decisions_are_channels_of_several_and_a_mask_of_one() -> None:
    logits = torch.randn(2, 3, 4, 5, 6, generator=torch.Generator().manual_seed(0))
    assert torch.equal(decisions(logits).long(), logits.argmax(1))
    assert torch.equal(decisions(logits[:, :1]), logits[:, 0] > 0)


def test_a_border_that_moves_is_a_difference_and_a_voxel_is_none() -> None:
    truth = _decided(10)
    one = truth.clone()
    one[0, 10, 0, 0] = 1
    assert agree(one, truth)
    assert not agree(_decided(11), truth)


def test_a_label_that_loses_a_fiftieth_of_its_voxels_is_a_difference_however_large_the_image() -> None:
    truth = torch.zeros(1, 100, 100, 100, dtype=torch.int16)
    truth[0, :10, :10, :10] = 1
    thinner = truth.clone()
    thinner[0, 0, :4, :10] = 0
    assert (thinner == truth).float().mean() > 0.999
    assert not agree(thinner, truth)

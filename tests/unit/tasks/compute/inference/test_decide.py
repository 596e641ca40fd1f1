"""What is decided per voxel is what PyTorch's own, slower functions decide."""

import pytest
import torch

from tasks.compute.inference.decide import label_map, winners
from tasks.compute.loader.channels import Channels

SHAPE = (5, 6, 7)


def _logits(channels: int) -> torch.Tensor:
    """Return logits in coarse steps, so that channels are often equal."""
    return torch.randn(channels, *SHAPE, generator=torch.Generator().manual_seed(channels)).round()


@pytest.mark.parametrize("count", [2, 3, 105])
def test_the_first_of_the_largest_channels_wins(count: int) -> None:
    logits = _logits(count)
    assert torch.equal(winners(logits).long(), logits.argmax(0))


def test_a_channel_without_a_label_of_the_experiment_is_background() -> None:
    logits = _logits(4)
    channels = Channels(("background", "liver", "spleen", "kidney"), (0, 3, 0, 1), exclusive=True, rebuilt=False)
    assert torch.equal(label_map(logits, channels), torch.tensor([0, 3, 0, 1], dtype=torch.uint8)[logits.argmax(0)])


def test_of_masks_that_overlap_the_likeliest_wins_and_where_there_is_none_it_is_background() -> None:
    logits = _logits(3)
    channels = Channels(("liver", "spleen", "kidney"), (2, 3, 1), exclusive=False, rebuilt=False)
    largest, winner = logits.max(0)
    expected = torch.where(largest > 0, torch.tensor([2, 3, 1], dtype=torch.uint8)[winner], 0)
    assert torch.equal(label_map(logits, channels), expected.to(torch.uint8))

"""Predictions that disagree score, predictions that are undecided alike do not; values by hand."""

import math

import pytest
import torch
from torch import Tensor, nn

from tasks.compute.loader.channels import Channels
from tasks.compute.scoring.epistemic import DROPOUT_PASSES, disagreement, dropout_layers, epistemic
from tasks.compute.scoring.subject import Scored, Subject

EXCLUSIVE = Channels(names=("background", "liver"), labels=(0, 1), exclusive=True, rebuilt=False)
SIDE = 4


def _logits(chance: float) -> Tensor:
    """Two channels, the second with this probability, everywhere."""
    foreground = torch.full((1, SIDE, SIDE, SIDE), math.log(chance / (1 - chance)))
    return torch.cat([torch.zeros_like(foreground), foreground])


def _only(values: Tensor) -> float:
    """The value that all voxels share."""
    assert float(values.max() - values.min()) < 1e-6
    return float(values.mean())


def _bits(chance: float) -> float:
    return -(chance * math.log2(chance) + (1 - chance) * math.log2(1 - chance))


def test_predictions_that_are_undecided_alike_have_nothing_to_learn() -> None:
    values, mean = disagreement([_logits(0.5)] * 3, exclusive=True)
    assert values.max() == pytest.approx(0, abs=1e-6)
    assert _only(mean[1]) == pytest.approx(0.5)


def test_two_predictions_of_a_tenth_and_nine_tenths_differ_by_their_mutual_information() -> None:
    # H(0.5) = 1 bit, each alone H(0.1) = H(0.9) = 0.469 bit: what only the other one knows is 0.531 bit.
    values, _ = disagreement([_logits(0.1), _logits(0.9)], exclusive=True)
    assert _only(values) == pytest.approx(1 - _bits(0.1), abs=1e-5)
    assert 1 - _bits(0.1) == pytest.approx(0.531, abs=1e-3)


def test_masks_are_judged_channel_by_channel() -> None:
    sure = torch.full((1, SIDE, SIDE, SIDE), 100.0)
    one, other = torch.cat([sure, sure]), torch.cat([sure, -sure])
    values, _ = disagreement([one, other], exclusive=False)  # the first agrees, the second is 1 against 0: 1 bit
    assert _only(values) == pytest.approx(0.5)


class Sided(nn.Module):
    """Says liver where the first half of the image is, whatever lies there: flipping the first axis shows it."""

    def forward(self, image: Tensor) -> Tensor:
        """Return logits (channel, i, j, k)."""
        logits = torch.full((2, *image.shape[1:]), -50.0)
        half = image.shape[1] // 2
        logits[1, :half], logits[0, half:] = 50.0, 50.0
        return logits


class Dropping(nn.Module):
    """Lets a voxel be liver unless its only feature was dropped."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.normalise = nn.BatchNorm3d(1)
        self.drop = nn.Dropout(rate)

    def forward(self, image: Tensor) -> Tensor:
        """Return logits (channel, i, j, k)."""
        kept = self.drop(torch.ones(image.shape[1:]))
        return torch.stack([torch.zeros_like(kept), torch.where(kept > 0, 50.0, -50.0)])


def _subject(network: nn.Module) -> Subject:
    image = torch.zeros(1, SIDE, SIDE, SIDE)
    return Subject(network.eval(), image, network, EXCLUSIVE)


def test_without_dropout_the_flips_disagree_and_the_score_says_so() -> None:
    # Four predictions, one of them mirrored: a voxel is liver in three or in one of four: H(1/4) = 0.811 bit.
    found = epistemic(_subject(Sided()))
    assert found.by == "flips"
    assert found.score == pytest.approx(_bits(0.25), abs=1e-5)


def test_with_dropout_its_samples_disagree_and_all_is_as_it_was_afterwards() -> None:
    network = Dropping(0.5)
    first, again = epistemic(_subject(network)), epistemic(_subject(network))
    assert first.by == "dropout"
    assert first.score is not None
    assert 0.5 < first.score < 1  # half are dropped; of so few samples a bit less than 1 bit is seen
    assert again == first
    assert not any(module.training for module in network.modules())
    assert DROPOUT_PASSES > 1


def test_a_dropout_layer_that_drops_nothing_is_none() -> None:
    assert dropout_layers(Dropping(0.0)) == []
    assert epistemic(_subject(Dropping(0.0))) == Scored(0.0, "flips")

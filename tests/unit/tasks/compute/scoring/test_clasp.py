"""Labels in turn, two places of three; noise that fades. Values by hand."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from tasks.compute.loader.channels import Channels
from tasks.compute.scoring.clasp import clasp, in_turn
from tasks.compute.scoring.subject import Beside, Floats, Subject

CHANNELS = Channels(names=("background", "liver", "spleen"), labels=(0, 1, 2), exclusive=True, rebuilt=False)
LATE = 1.0


def _beside(rows: list[list[float]], taken: int | None = None, progress: float = LATE, seed: int = 0) -> Beside:
    return Beside(np.array(rows, dtype=np.float32), np.arange(len(rows)) == taken, progress, seed)


def _order(scores: Floats) -> list[int]:
    return [int(image) for image in np.argsort(-scores)]


def test_an_image_is_told_by_its_entropy_and_its_share_of_each_label() -> None:
    chances = torch.tensor([0.5, 0.25, 0.25])
    logits = chances.log()[:, None, None, None].expand(3, 4, 4, 4)
    scored = clasp(Subject(nn.Identity(), torch.zeros(1, 4, 4, 4), lambda _: logits, CHANNELS))
    entropy = 1.5 * math.log(2) / math.log(3)  # 1.5 bits of log2(3)
    assert scored.features == pytest.approx((entropy, entropy / 4, entropy / 4), abs=1e-5)
    assert scored.score == pytest.approx(entropy, abs=1e-5)


def test_two_of_three_places_go_to_the_labels_in_turn_and_one_to_the_entropy() -> None:
    # Entropy, liver, spleen: steps of a factor ten, which noise of 1/100 does not turn round.
    rows = [[1e-1, 1e-1, 1e-5], [1e-4, 1e-5, 1e-1], [1e-2, 1e-4, 1e-4], [1e-3, 1e-2, 1e-3]]
    # Liver: 0; spleen: 1; entropy: 2 (0 has gone); liver again: 3.
    assert _order(in_turn(_beside(rows))) == [0, 1, 2, 3]
    assert _order(in_turn(_beside(rows, taken=0)))[:3] == [3, 1, 2], "a taken image has no place"


def test_the_noise_is_gumbels_and_fades() -> None:
    rows = [[1.0, 1.0]] * 400 + [[3.0, 3.0]] * 400
    early = [
        int((np.array(_order(in_turn(_beside(rows, progress=0, seed=seed)))[:400]) >= 400).sum()) for seed in (1, 2)
    ]
    late = _order(in_turn(_beside(rows, progress=1)))[:400]
    assert min(late) >= 400, "at the end the higher scores come first"
    # With beta 1 the best of two is the one of three times the score with a chance of 3/4.
    assert all(240 < found < 340 for found in early)
    assert early[0] != early[1]

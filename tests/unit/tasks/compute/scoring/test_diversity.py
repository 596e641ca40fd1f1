"""Images far from everything labelled come first; distances by hand."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tasks.compute.loader.channels import Channels
from tasks.compute.scoring.diversity import diversity, k_centre
from tasks.compute.scoring.subject import Beside, Subject

CHANNELS = Channels(names=("background", "liver"), labels=(0, 1), exclusive=True, rebuilt=False)


def _line(places: list[float], taken: tuple[int, ...] = ()) -> Beside:
    """Images on a line."""
    points = np.array(places, dtype=np.float32)[:, None]
    return Beside(points, np.isin(np.arange(len(places)), taken), 0, 0)


def test_each_image_is_the_one_farthest_from_all_before_it() -> None:
    # From 0, labelled: 10 is farthest; then 4 (4 from 0, 6 from 10) before 9 and 1.
    scores = k_centre(_line([0, 1, 4, 9, 10], taken=(0,)))
    assert scores.tolist() == [0, 0.5, 2, 0.5, 5]


def test_without_a_label_it_begins_in_the_middle() -> None:
    scores = k_centre(_line([0, 0.4, 0.5, 1.1]))  # the mean is 0.5
    assert scores.tolist() == pytest.approx([0.25, 0.05, 1, 0.3])


def _subject(network: nn.Module, image: Tensor) -> Subject:
    return Subject(network, image, lambda given: network(given[None])[0], CHANNELS)


class Pooling(nn.Module):
    """Halves its input, and comes back."""

    def __init__(self) -> None:
        super().__init__()
        self.down, self.up = nn.AvgPool3d(2), nn.Upsample(scale_factor=2)

    def forward(self, image: Tensor) -> Tensor:
        """Return what came in, coarser."""
        answer: Tensor = self.up(self.down(image))
        return answer


def test_an_embedding_is_the_mean_of_what_the_coarsest_layer_says() -> None:
    image = torch.stack([torch.full((4, 4, 4), 3.0), torch.full((4, 4, 4), 4.0)])
    scored = diversity(_subject(Pooling(), image))
    assert scored.by == "encoder"
    assert scored.features == pytest.approx((0.6, 0.8))  # (3, 4), of length 1


def test_of_a_network_that_becomes_no_coarser_it_is_the_histogram() -> None:
    image = torch.zeros(1, 4, 4, 4)
    image[:, :2] = 1
    scored = diversity(_subject(nn.Conv3d(1, 2, 1), image))
    assert scored.by == "histogram"
    # Half of the voxels one standard deviation below the mean, half above: two bins of 1/2, roots of length 1.
    assert sorted(scored.features)[-2:] == pytest.approx([0.5**0.5] * 2)
    assert sum(feature > 0 for feature in scored.features) == 2

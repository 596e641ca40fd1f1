"""Cases on which only one organ was drawn do not unteach the other."""

from dataclasses import dataclass

import pytest
import torch
from monai.inferers import SimpleInferer
from monai.losses import DiceCELoss, DiceLoss
from torch import Tensor, nn

from tasks.compute.inference.decide import label_map
from tasks.compute.loader.channels import Channels
from tasks.compute.loader.pipeline import DRAWN, LABEL
from tasks.compute.metrics.counts import Counts
from tasks.compute.metrics.dice import dice
from tasks.compute.training.module import Segmenter

LIVER, SPLEEN = 1, 2
SIZE = 12
STEPS = 120
CHANNELS = Channels(("background", "liver", "spleen"), (0, LIVER, SPLEEN), exclusive=True, rebuilt=False)


@dataclass(frozen=True)
class Body:
    """An image of shape (1, 1, i, j, k) and its whole truth, of the same shape."""

    image: Tensor
    truth: Tensor


def body(seed: int) -> Body:
    """A dark box with a grey liver and a bright spleen somewhere in its halves."""
    chance = torch.Generator().manual_seed(seed)
    truth = torch.zeros(1, 1, SIZE, SIZE, SIZE)
    a, b = (int(torch.randint(1, 4, (1,), generator=chance)) for _ in range(2))
    truth[..., a : a + 6, a : a + 6, :5] = LIVER
    truth[..., b : b + 4, b : b + 4, 7:] = SPLEEN
    image = truth * 0.5 + 0.1 * torch.randn(truth.shape, generator=chance)
    return Body(image, truth)


def learn(whole: list[Body], spleen_only: list[Body], *, masked: bool = True) -> float:
    """Train a small network, and return the liver's mean Dice on bodies that it has not seen."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv3d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv3d(8, 3, 1))
    loss = DiceCELoss(to_onehot_y=True, softmax=True)
    inferers = (SimpleInferer(), SimpleInferer())
    module = Segmenter(network, CHANNELS, loss=loss, inferers=inferers, image_key="image")
    optimizer = torch.optim.Adam(network.parameters(), lr=0.02)
    cases = [(one, one.truth, ["liver", "spleen"]) for one in whole]
    cases += [(one, one.truth * (one.truth == SPLEEN), ["spleen"]) for one in spleen_only]
    for step in range(STEPS):
        one, label, annotated = cases[step % len(cases)]
        drawn = CHANNELS.drawn(annotated if masked else None)
        batch = {"image": one.image, LABEL: label, DRAWN: torch.tensor([drawn])}
        optimizer.zero_grad()
        module.loss_of(batch).backward()  # type: ignore[no-untyped-call]  # PyTorch's own
        optimizer.step()
    unseen = [body(seed) for seed in range(100, 104)]
    network.eval()
    with torch.inference_mode():
        told = [(one.truth[0, 0] == LIVER, label_map(network(one.image)[0], CHANNELS) == LIVER) for one in unseen]
    found = [dice(Counts.of(*pair)) for pair in told]
    return sum(value or 0.0 for value in found) / len(found)


def test_spleen_only_cases_do_not_lower_the_livers_dice() -> None:
    whole, spleen_only = [body(seed) for seed in (1, 2)], [body(seed) for seed in range(3, 11)]

    without, together = learn(whole, []), learn(whole, spleen_only)

    assert without > 0.8
    assert together > without - 0.02
    assert learn(whole, spleen_only, masked=False) < without - 0.2


@pytest.mark.parametrize("exclusive", [True, False])
def test_one_step_on_a_spleen_only_case_does_not_push_the_liver_to_background(exclusive: bool) -> None:
    one = body(1)
    channels = CHANNELS if exclusive else Channels(("liver", "spleen"), (LIVER, SPLEEN), exclusive=False, rebuilt=False)
    spleen = (one.truth == SPLEEN).float()
    # What a sigmoid head's bundle makes of a label map: a mask per channel.
    label = spleen * SPLEEN if exclusive else torch.cat([torch.zeros_like(spleen), spleen], 1)
    liver = channels.names.index("liver")
    logits = torch.zeros(1, len(channels.names), SIZE, SIZE, SIZE)
    logits[:, liver] = torch.where(one.truth[:, 0] == LIVER, 6.0, -6.0)
    logits.requires_grad_()
    loss = DiceCELoss(to_onehot_y=True, softmax=True) if exclusive else DiceLoss(sigmoid=True)
    inferers = (lambda _image, _network: logits, SimpleInferer())
    module = Segmenter(nn.Identity(), channels, loss=loss, inferers=inferers, image_key="image")

    batch = {"image": one.image, LABEL: label, DRAWN: torch.tensor([channels.drawn(["spleen"])])}
    module.loss_of(batch).backward()  # type: ignore[no-untyped-call]  # PyTorch's own

    assert logits.grad is not None
    inside = one.truth[:, 0] == LIVER
    # Descent goes against the gradient: a positive one would lower the liver where the liver is.
    assert float(logits.grad[:, liver][inside].max()) <= 1e-6
    assert bool(logits.grad.any())

"""Folded batch norms answer as they did, and only those are folded that a chain calls right after a convolution."""

import torch
from monai.networks.nets import UNet
from torch import nn

from tasks.compute.inference.folded import fold_norms


def _seasoned(network: nn.Module) -> nn.Module:
    """Give each batch norm what a training gives it: statistics and weights of its own."""
    torch.manual_seed(0)
    for norm in network.modules():
        if isinstance(norm, nn.BatchNorm3d):
            norm.running_mean = torch.randn(norm.num_features)
            norm.running_var = torch.rand(norm.num_features) + 0.5
            nn.init.normal_(norm.weight)
            nn.init.normal_(norm.bias)
    return network.eval()


def _norms(network: nn.Module) -> int:
    return sum(isinstance(layer, nn.BatchNorm3d) for layer in network.modules())


def test_a_unet_answers_alike_without_any_of_its_norms() -> None:
    network = _seasoned(UNet(3, 1, 2, channels=[8, 16, 32], strides=[2, 2], num_res_units=2, norm="batch"))
    image = torch.randn(2, 1, 16, 16, 16)
    with torch.no_grad():
        before = network(image)
        assert _norms(network)
        fold_norms(network)
        after = network(image)
    assert not _norms(network)
    assert torch.allclose(after, before, atol=1e-4 * float(before.abs().max()))


def test_a_norm_stays_that_follows_something_else_or_is_called_by_other_code() -> None:
    class Caller(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.convolution, self.norm = nn.Conv3d(2, 2, 1), nn.BatchNorm3d(2)

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return self.norm(self.convolution(image).relu())  # type: ignore[no-any-return]  # PyTorch's modules answer Any

    grouped = nn.ConvTranspose3d(2, 2, 1, groups=2)
    network = _seasoned(
        nn.Sequential(nn.Conv3d(2, 2, 1), nn.ReLU(), nn.BatchNorm3d(2), Caller(), grouped, nn.BatchNorm3d(2))
    )
    image = torch.randn(1, 2, 3, 3, 3)
    with torch.no_grad():
        before = network(image)
        fold_norms(network)
        assert torch.equal(network(image), before)

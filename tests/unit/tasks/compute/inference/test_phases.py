"""Transposed convolutions by phases answer as they did, and only those are replaced that a chain calls."""

import pytest
import torch
from monai.networks.nets import UNet
from torch import nn

from tasks.compute.inference.arrangement import Arrangement
from tasks.compute.inference.phases import Phases, replaceable


def _layer(**changed: object) -> nn.ConvTranspose3d:
    torch.manual_seed(0)
    given = {"kernel_size": 3, "stride": 2, "padding": 1, "output_padding": 1, **changed}
    return nn.ConvTranspose3d(5, 2, **given)  # type: ignore[arg-type]  # a table of arguments


@pytest.mark.parametrize("bias", [True, False])
def test_every_voxel_is_as_the_transposed_convolution_made_it(bias: bool) -> None:
    layer, image = _layer(bias=bias), torch.randn(2, 5, 3, 4, 5)
    with torch.no_grad():
        assert torch.allclose(Phases(layer)(image), layer(image), atol=1e-6)


def test_a_unet_has_its_last_one_replaced_and_answers_alike() -> None:
    torch.manual_seed(0)
    network = UNet(3, 1, 2, channels=[8, 16, 32], strides=[2, 2], num_res_units=1).eval()
    image = torch.randn(1, 1, 16, 16, 16)
    with torch.no_grad():
        before = network(image)
        (_, _, layer) = next(replaceable(network))
        assert (layer.in_channels, layer.out_channels) == (16, 2)
        after = Arrangement(phases=True).fit(network)(image)
    assert not list(replaceable(network))
    assert torch.allclose(after, before, atol=1e-5)


def test_what_is_of_another_kind_or_called_by_other_code_stays() -> None:
    class Caller(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.up = _layer()

    others = [
        _layer(kernel_size=2, padding=0, output_padding=0),
        _layer(output_padding=0),
        nn.ConvTranspose3d(2, 16, 3),
    ]
    assert not list(replaceable(nn.Sequential(*others, Caller())))
    assert len(list(replaceable(nn.Sequential(nn.Sequential(_layer()))))) == 1

"""A network gets another number of outputs, and keeps everything else."""

import pytest
import torch
from monai.networks.nets import SegResNet, UNet
from torch import nn

from tasks.compute.failures import BundleFaultError
from tasks.compute.loader.head import replace_head


def networks() -> list[nn.Module]:
    return [
        UNet(3, 1, 4, channels=(4, 8), strides=(2,), num_res_units=0),
        SegResNet(spatial_dims=3, init_filters=8, in_channels=1, out_channels=4, blocks_down=(1, 1), blocks_up=(1,)),
    ]


@pytest.mark.parametrize("network", networks(), ids=["unet", "segresnet"])
def test_only_the_last_layer_changes(network: nn.Module) -> None:
    before = {name: value.clone() for name, value in network.state_dict().items()}
    example = torch.zeros(1, 1, 16, 16, 16)
    name = replace_head(network, example, old=4, new=7)
    after = network.state_dict()
    assert network.eval()(example).shape[1] == 7
    assert after.keys() == before.keys()
    assert {changed.rpartition(".")[0] for changed in after if after[changed].shape != before[changed].shape} == {name}
    assert all(torch.equal(after[same], before[same]) for same in after if not same.startswith(name))


def test_a_network_in_which_more_than_one_layer_would_have_to_change_is_refused() -> None:
    network = UNet(3, 1, 4, channels=(4, 8), strides=(2,), num_res_units=2)
    with pytest.raises(BundleFaultError, match="UNet"):
        replace_head(network, torch.zeros(1, 1, 16, 16, 16), old=4, new=7)


def test_a_network_whose_last_layer_is_not_found_is_refused_by_name() -> None:
    with pytest.raises(BundleFaultError, match="Sequential"):
        replace_head(nn.Sequential(nn.Conv3d(1, 3, 1)), torch.zeros(1, 1, 4, 4, 4), old=4, new=2)

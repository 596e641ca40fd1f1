"""What a check says of a bundle's output layer is what building it for other labels does."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from tasks.compute.loader.check import try_head
from tasks.compute.loader.config import Bundle
from tasks.compute.loader.network import build_network, load_state

SAMPLE = Path(__file__).parents[5] / "bundles" / "sample"
OTHERS = {1: "liver", 2: "spleen"}
NETWORKS: dict[str, dict[str, Any]] = {
    "SegResNet": {
        "_target_": "SegResNet",
        "spatial_dims": 3,
        "init_filters": 8,
        "in_channels": 1,
        "out_channels": 4,
        "blocks_down": [1, 1],
        "blocks_up": [1],
    },
    "DynUNet": {
        "_target_": "DynUNet",
        "spatial_dims": 3,
        "in_channels": 1,
        "out_channels": 4,
        "kernel_size": [3, 3, 3],
        "strides": [1, 2, 2],
        "upsample_kernel_size": [2, 2],
        "filters": [4, 8, 8],
        "deep_supervision": True,
        "deep_supr_num": 1,
    },
}


def bundle_with(folder: Path, network: Any, weights: dict[str, torch.Tensor] | None = None) -> Bundle:
    """The sample bundle with another network."""
    shutil.copytree(SAMPLE, folder)
    for name in ("train.json", "inference.json"):
        file = folder / "configs" / name
        written = json.loads(file.read_text())
        if network is not None:
            written["network_def"] = network
        for inferer in (written.get("inferer"), written.get("validate", {}).get("inferer")):
            if inferer:
                inferer["roi_size"] = [16, 16, 16]
        file.write_text(json.dumps(written))
    if weights is not None:
        (folder / "models").mkdir()
        torch.save(weights, folder / "models" / "model.pt")
    return Bundle(folder)


def own(bundle: Bundle) -> torch.nn.Module:
    return build_network(bundle, bundle.inference(), labels=None, weights=None)[0]


@pytest.mark.parametrize("network", [None, *NETWORKS.values()], ids=["sample", *NETWORKS])
def test_other_labels_change_the_output_layer_and_nothing_else(tmp_path: Path, network: Any) -> None:
    start = own(bundle_with(tmp_path / "random", network)).state_dict()
    bundle = bundle_with(tmp_path / "trained", network, weights=start)
    training = bundle.training()
    assert training is not None

    head, refusal = try_head(bundle, training, own(bundle))
    again = bundle.training()
    assert again is not None
    made, channels = build_network(bundle, again, labels=OTHERS, weights=None)

    assert refusal == ""
    assert channels.names == ("background", "liver", "spleen")
    layers = tuple(head.split(", "))
    state = made.state_dict()
    assert {name for name in state if state[name].shape != start[name].shape}
    for name, value in state.items():
        if name.rpartition(".")[0] not in layers:
            torch.testing.assert_close(value.cpu(), start[name].cpu())
    with torch.inference_mode():
        assert made.eval()(torch.zeros(1, 1, 16, 16, 16)).shape[1] == 3


def test_names_that_the_bundle_has_keep_its_output_layer(tmp_path: Path) -> None:
    start = own(bundle_with(tmp_path / "random", None)).state_dict()
    bundle = bundle_with(tmp_path / "trained", None, weights=start)

    made, channels = build_network(bundle, bundle.inference(), labels={7: "White-Matter"}, weights=None)

    assert (channels.rebuilt, channels.labels) == (False, (0, 0, 7, 0))
    for name, value in made.state_dict().items():
        torch.testing.assert_close(value.cpu(), start[name].cpu())


def test_a_network_whose_last_layer_is_not_found_is_named(tmp_path: Path) -> None:
    bundle = bundle_with(tmp_path / "b", "$torch.nn.Sequential(torch.nn.Conv3d(1, 8, 1), torch.nn.GLU(1))")
    network = own(bundle)

    head, refusal = try_head(bundle, bundle.inference(), network)

    assert head == ""
    assert refusal.startswith("Sequential: its last layer with 4 outputs was not found")


def test_weights_of_other_labels_are_refused(tmp_path: Path) -> None:
    bundle = bundle_with(tmp_path / "b", NETWORKS["SegResNet"])
    made, _ = build_network(bundle, bundle.inference(), labels=OTHERS, weights=None)
    torch.save(made.state_dict(), tmp_path / "others.pt")

    with pytest.raises(Exception, match="another set of labels"):
        load_state(own(bundle), tmp_path / "others.pt")

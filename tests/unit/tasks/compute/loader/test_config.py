"""Reading a bundle: overrides come first, writers are dropped, requests bring data only."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from tasks.compute.failures import BadInputError, BundleFaultError
from tasks.compute.loader.channels import match
from tasks.compute.loader.config import Bundle, Config, check_overrides
from tasks.compute.loader.network import build_network, extent_of, probe
from tasks.compute.loader.outputs import outputs_of
from tasks.compute.loader.tier import tier_of

SAMPLE = Path(__file__).parents[5] / "bundles" / "sample"


def config_of(tmp_path: Path, content: dict[str, Any], **overrides: Any) -> Config:
    file = tmp_path / "train.json"
    file.write_text(json.dumps(content))
    return Config(file, root=tmp_path, overrides=overrides)


def test_optimizer_and_network_are_one_thing_even_with_overrides() -> None:
    bundle = Bundle(SAMPLE)
    config = bundle.training({"learning_rate": 0.25, "network_def#channels": [16, 16, 16, 16]})
    assert config is not None
    network, _ = build_network(bundle, config, labels={1: "somewhere else"}, weights=None)
    optimizer = config.build("optimizer")
    held = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    assert held == {id(parameter) for parameter in network.parameters()}
    assert optimizer.param_groups[0]["lr"] == 0.25
    assert config.build("network_def") is network


def test_a_residual_network_is_built_anew_for_other_labels_with_every_other_weight_kept(tmp_path: Path) -> None:
    for name in ("inference.json", "metadata.json"):
        (tmp_path / "configs").mkdir(exist_ok=True)
        (tmp_path / "configs" / name).write_bytes((SAMPLE / "configs" / name).read_bytes())
    overrides = {"network_def#num_res_units": 2}
    bundle = Bundle(tmp_path)
    base, _ = build_network(bundle, bundle.inference(overrides), labels=None, weights=None)
    for value in base.state_dict().values():
        value.fill_(3)
    (tmp_path / "models").mkdir()
    torch.save({"model": base.state_dict()}, tmp_path / "models" / "model.pt")
    network, channels = build_network(bundle, bundle.inference(overrides), labels={1: "a", 2: "b"}, weights=None)
    assert channels.rebuilt
    assert network.eval()(torch.zeros(1, 1, 16, 16, 16)).shape[1] == 3
    before, after = base.state_dict(), network.state_dict()
    kept = [name for name in before if before[name].shape == after[name].shape]
    assert len(kept) > 0.8 * len(before)
    assert all(torch.equal(before[name], after[name]) for name in kept)


def test_the_bundle_root_is_ours_whatever_the_file_says(tmp_path: Path) -> None:
    config = config_of(tmp_path, {"bundle_root": ".", "dataset_dir": "/data", "where": "$@bundle_root + '/x'"})
    assert config.build("where") == f"{tmp_path}/x"
    assert config.build("dataset_dir") != "/data"


def test_transforms_that_write_files_are_dropped_at_every_depth(tmp_path: Path) -> None:
    writer = {"_target_": "monai.transforms.SaveImaged", "keys": "pred", "output_dir": "/"}
    config = config_of(tmp_path, {"a": [writer, {"_target_": "Compose", "transforms": [writer]}]})
    assert config.raw("a") == [{"_target_": "Compose", "transforms": []}]


@pytest.mark.parametrize(
    "override",
    [
        {"train#x": "$__import__('os').getcwd()"},
        {"loss#_target_": "os.system"},
        {"loss": {"_target_": "os.system"}},
        {"imports": ["x"]},
        {"a": [{"b": " $1"}]},
        {"a": "%/etc/passwd"},
    ],
)
def test_an_override_that_would_run_is_refused(override: dict[str, Any]) -> None:
    with pytest.raises(BadInputError, match="no plain value"):
        check_overrides(override)


def test_plain_overrides_pass() -> None:
    assert check_overrides({"train#dataloader#batch_size": 4, "names": ["a", "b"]})


def test_a_bundle_without_weights_needs_a_seed(tmp_path: Path) -> None:
    (tmp_path / "configs").mkdir()
    for name in ("inference.json", "train.json"):
        (tmp_path / "configs" / name).write_bytes((SAMPLE / "configs" / name).read_bytes())
    metadata = json.loads((SAMPLE / "configs" / "metadata.json").read_text())
    (tmp_path / "configs" / "metadata.json").write_text(json.dumps({**metadata, "weights": ""}))
    bundle = Bundle(tmp_path)
    with pytest.raises(BundleFaultError, match=r"random\(0\)"):
        build_network(bundle, bundle.inference(), labels=None, weights=None)


def test_tiers_are_told_with_their_reason(tmp_path: Path) -> None:
    assert tier_of(None)[0] == "C"
    assert tier_of(config_of(tmp_path, {"loss": 1}))[0] == "C"
    trainer = {"_target_": "scripts.trainer.Vista3dTrainer"}
    assert tier_of(config_of(tmp_path, {"train": {"trainer": trainer}}))[0] == "C"
    custom = {"train": {"trainer": trainer, "dataset": {"data": []}}}
    assert tier_of(config_of(tmp_path, custom)) == (
        "B",
        "Its trainer is scripts.trainer.Vista3dTrainer, which is run as it is",
    )
    own = {"train": {"trainer": {"_target_": "SupervisedTrainer", "iteration_update": "$x"}}}
    assert "iteration_update" in tier_of(config_of(tmp_path, own))[1]
    assert tier_of(Bundle(SAMPLE).training())[0] == "A"


def test_the_sample_names_the_labels_of_the_sample_data() -> None:
    bundle = Bundle(SAMPLE)
    names = {1: "grey matter", 2: "white matter", 3: "cerebellar grey matter"}
    assert outputs_of(bundle, bundle.inference()).names == names
    assert not match(names, names, count=4, exclusive=True).rebuilt
    assert probe(bundle, bundle.inference()).shape == (1, 1, 72, 80, 72)


def test_sizes_in_metadata_are_read() -> None:
    assert [extent_of(written) for written in (96, "*", "16*n", "2**p*n", "100*n")] == [96, 64, 64, 64, 100]

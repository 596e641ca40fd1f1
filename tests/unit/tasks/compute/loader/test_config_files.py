"""A training may name its configuration: files of the bundle, each over the one before."""

import json
from pathlib import Path

import pytest

from tasks.compute.failures import BadInputError
from tasks.compute.loader.config import Bundle
from tests.shapes.configured import in_yaml
from tests.shapes.shape import plain

ONE_AND_OTHER = ["configs/train.json", "configs/shorter.json"]


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    """One that has a second configuration, which changes an id and adds one, and something that is none."""
    folder = plain().write(tmp_path / "plain")
    written = {"epochs": 1, "train#dataloader#batch_size": 1, "mine": 3}
    (folder / "configs" / "shorter.json").write_text(json.dumps(written))
    (folder / "secret.json").write_text("{}")
    return Bundle(folder)


def test_a_later_file_stands_over_an_earlier_one_and_overrides_over_both(bundle: Bundle) -> None:
    config = bundle.training({"mine": 4}, ONE_AND_OTHER)

    assert config is not None
    assert (config.value("epochs"), config.value("mine"), config.value("val_interval")) == (1, 4, 1)
    assert config.raw("train#dataloader#batch_size") == 1
    unnamed = bundle.training()
    assert unnamed is not None
    assert (unnamed.value("epochs"), unnamed.find("mine")) == (2, None)


def test_an_override_may_name_an_id_of_any_of_the_files(bundle: Bundle) -> None:
    keys = bundle.training_keys(ONE_AND_OTHER)

    assert {"mine", "learning_rate"} <= {*keys}
    assert len({*keys}) == len(keys)
    assert "mine" not in bundle.training_keys()


@pytest.mark.parametrize("name", ["configs/metadata.json", "secret.json", "../plain/configs/train.json", "configs"])
def test_what_is_no_configuration_of_the_bundle_is_refused_by_name(bundle: Bundle, name: str) -> None:
    with pytest.raises(
        BadInputError, match=f"no configuration '{name}'; it has configs/inference.json, configs/shorter"
    ):
        bundle.training(None, [name])


def test_files_of_either_kind_are_told_to_whoever_registers(tmp_path: Path) -> None:
    assert Bundle(in_yaml().write(tmp_path / "yaml")).config_files() == ["configs/inference.yaml", "configs/train.yaml"]

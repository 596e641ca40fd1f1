"""Classes for labels: by name, by number, or the next that is free."""

import json
from pathlib import Path

import pytest

from configs.specs.train import TrainSpec
from tasks.compute.failures import BadInputError
from tasks.compute.loader.config import Bundle, Config, check_overrides
from tasks.compute.prompts.classes import Prompts, channels_for, check_mappings, classes_of
from tests.bundles import VISTA3D

PROMPTS = Prompts.model_validate(json.loads((VISTA3D / "configs" / "inference.json").read_text())["prompts"])
METADATA = json.loads((VISTA3D / "configs" / "metadata.json").read_text())
NAMES = {
    int(number): name for number, name in METADATA["network_data_format"]["outputs"]["pred"]["channel_def"].items()
}


def test_the_table_has_132_classes_of_which_117_are_told_apart() -> None:
    assert set(NAMES) == set(range(133))
    assert len(set(NAMES.values())) == 133
    apart = set(NAMES) - {0} - PROMPTS.unsupported - PROMPTS.overlapping - PROMPTS.merged.keys()
    assert len(apart) == 117
    assert {number for parts in PROMPTS.merged.values() for number in parts} <= apart
    assert [NAMES[number] for number in PROMPTS.merged[2]] == ["left kidney", "right kidney"]


def test_a_label_has_the_class_of_its_name_and_else_one_of_its_own() -> None:
    labels = {0: "background", 1: "Left_Kidney", 7: "myorgan", 133: "cyst", 9: "other"}
    assert classes_of(PROMPTS, NAMES, labels) == {1: 14, 7: 134, 133: 133, 9: 135}


def test_more_labels_of_ones_own_than_there_are_classes_are_refused() -> None:
    labels = {index: f"mine {index}" for index in range(1, 124)}
    with pytest.raises(BadInputError, match="room for 122 labels"):
        classes_of(PROMPTS, NAMES, labels)


def test_a_union_comes_after_its_parts() -> None:
    labels = {1: "kidney", 2: "right kidney", 3: "spleen"}
    channels = channels_for(classes_of(PROMPTS, NAMES, labels), labels, PROMPTS)
    assert channels.names == ("right kidney", "spleen", "kidney")
    assert channels.labels == (2, 3, 1)
    assert channels.unions == {2: {0}}


def config(folder: Path, mappings: object) -> Config:
    file = folder / "train.json"
    file.write_text(json.dumps({"label_mappings": {"default": mappings}}))
    return Config(file, root=folder, overrides={})


@pytest.mark.parametrize("mappings", [None, [[1, 14], [7, 134]], [[5, 9]]])
def test_label_mappings_that_say_what_is_so_anyway_are_taken(tmp_path: Path, mappings: object) -> None:
    check_mappings(config(tmp_path, mappings), {1: 14, 7: 134})


@pytest.mark.parametrize(
    ("mappings", "said"), [([[1, 5]], "label 1 the class 5, and it is served as class 14"), ("no list", "index, class")]
)
def test_label_mappings_that_would_train_another_class_than_is_served_are_refused(
    tmp_path: Path, mappings: object, said: str
) -> None:
    with pytest.raises(BadInputError, match=said):
        check_mappings(config(tmp_path, mappings), {1: 14, 7: 134})


def test_the_guides_train_spec_is_taken_and_changes_what_it_says() -> None:
    written = {
        "config_file": ["configs/train.json", "configs/train_continual.json"],
        "label_mappings": "$default_monai_label_mapping",
        "n_train_samples": 5,
        "epochs": 2,
        "val_interval": 1,
        "drop_point_prob": 1.0,
    }
    spec, bundle = TrainSpec.from_request(written), Bundle(VISTA3D)
    overrides = check_overrides(spec.overrides, bundle.training_keys(spec.config_file))
    config = bundle.training(overrides, spec.config_file)

    assert config is not None
    assert (spec.epochs, config.raw("n_train_samples"), config.raw("drop_point_prob")) == (2, 5, 1.0)
    assert config.raw("learning_rate") == 0.00005
    assert config.raw("label_mappings#default") is None

"""A train request of either dialect becomes a spec and overrides of the bundle."""

import pytest
from pydantic import ValidationError

from configs.errors import InvalidRequestError
from configs.specs.train import TrainSpec


def test_the_guides_words_become_fields() -> None:
    spec = TrainSpec.from_request({"epochs": 2, "val_interval": 1, "finetune": True, "tracking": "mlflow"})

    assert (spec.epochs, spec.val_interval, spec.tracking, spec.overrides) == (2, 1, "mlflow", {})


def test_everything_else_overrides_the_bundle() -> None:
    spec = TrainSpec.from_request({"train#random_transforms#0#prob": 0.5, "n_train_samples": 4})

    assert spec.overrides == {"train#random_transforms#0#prob": 0.5, "n_train_samples": 4}


def test_the_trainers_path_to_its_epochs_is_the_field() -> None:
    assert TrainSpec.from_request({"train#trainer#max_epochs": 3}).epochs == 3


@pytest.mark.parametrize("key", ["bundle_root", "workflow_type", "ckpt_dir", "finetune_model_path"])
def test_keys_that_the_system_sets_are_refused(key: str) -> None:
    with pytest.raises(ValidationError, match=key):
        TrainSpec.from_request({key: "/somewhere"})


@pytest.mark.parametrize("said", ["configs/train.json", ["configs/train.json"], ["./configs/train.json"]])
def test_a_configuration_is_one_file_or_several(said: object) -> None:
    assert TrainSpec.from_request({"config_file": said}).config_file == ("configs/train.json",)


@pytest.mark.parametrize(
    "said", ["../train.json", "/etc/passwd", ["configs/train.json", "configs/../../x.json"], "a\0", ""]
)
def test_a_configuration_outside_the_bundle_is_refused(said: object) -> None:
    with pytest.raises(ValidationError, match="config_file"):
        TrainSpec.from_request({"config_file": said})


@pytest.mark.parametrize("said", ["configs/other.json", ["configs/metadata.json", "x"], 7, {}])
def test_other_metadata_than_the_bundles_are_refused(said: object) -> None:
    assert TrainSpec.from_request({"meta_file": "configs/metadata.json", "logging_file": "x"}).overrides == {}
    with pytest.raises(InvalidRequestError, match="meta_file"):
        TrainSpec.from_request({"meta_file": said})


def test_the_hosted_services_words_for_mlflow_are_its_own() -> None:
    guide = {"tracking": "mlflow", "tracking_uri": "http://127.0.0.1:9", "experiment_name": "spleen"}
    ways: list[dict[str, object]] = [{"save_execute_config": False}, {"train#handlers#-1#artifacts": None}]
    for way in ways:
        spec = TrainSpec.from_request({**guide, **way})
        assert (spec.tracked_at, spec.experiment_name, spec.overrides) == ("http://127.0.0.1:9", "spleen", {})


@pytest.mark.parametrize("overrides", ["optimizer#lr", [1], 3])
def test_overrides_that_are_not_given_by_name_are_refused(overrides: object) -> None:
    with pytest.raises(InvalidRequestError, match="by name"):
        TrainSpec.from_request({"overrides": overrides})


@pytest.mark.parametrize("said", [{"max_minutes": float("inf")}, {"learning_rate": float("inf")}, {"seed": 2**40}])
def test_numbers_that_nothing_can_train_with_are_refused(said: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        TrainSpec.from_request(said)

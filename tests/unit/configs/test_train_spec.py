"""A train request of either dialect becomes a spec and overrides of the bundle."""

import pytest
from pydantic import ValidationError

from configs.specs.train import TrainSpec


def test_the_guides_words_become_fields() -> None:
    spec = TrainSpec.from_request({"epochs": 2, "val_interval": 1, "finetune": True, "tracking": "mlflow"})

    assert (spec.epochs, spec.val_interval, spec.tracking, spec.overrides) == (2, 1, "mlflow", {})


def test_everything_else_overrides_the_bundle() -> None:
    spec = TrainSpec.from_request({"train#random_transforms#0#prob": 0.5, "n_train_samples": 4})

    assert spec.overrides == {"train#random_transforms#0#prob": 0.5, "n_train_samples": 4}


def test_the_trainers_path_to_its_epochs_is_the_field() -> None:
    assert TrainSpec.from_request({"train#trainer#max_epochs": 3}).epochs == 3


@pytest.mark.parametrize("key", ["bundle_root", "ckpt_dir"])
def test_keys_that_the_system_sets_are_refused(key: str) -> None:
    with pytest.raises(ValidationError, match=key):
        TrainSpec.from_request({key: "/somewhere"})

"""What is promised to hold where nobody says otherwise, number by number."""

from pathlib import Path

import pytest

from configs.failpoints import fail_point
from configs.settings import Settings
from configs.specs.annotation import AnnotationSpec, GateSpec
from configs.specs.dataset import DatasetSpec
from configs.specs.train import TrainSpec


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings of a machine on which nobody has set anything."""
    for name in Settings.model_fields:
        monkeypatch.delenv(f"TEACHBACK_{name.upper()}", raising=False)
    return Settings(home=tmp_path)


def test_people_and_processes_have_time(settings: Settings) -> None:
    assert settings.image_lease_s == 60 * 60
    assert (settings.attempt_lease_s, settings.attempt_renew_s) == (60, 5)
    assert (settings.slot_lease_s, settings.slot_heartbeat_s) == (15, 2)
    assert (settings.reconcile_s, settings.host_silence_s) == (5, 10 * 60)


def test_a_loop_publishes_by_the_gate_and_tries_a_failed_round_once_more() -> None:
    loop = AnnotationSpec(round_size=5)
    assert (loop.publish, loop.max_retries, loop.train_spec.max_minutes) == ("gate", 1, 60)
    gate = GateSpec()
    assert (gate.min_cases, gate.confidence, gate.margin, gate.max_class_drop) == (5, 0.95, 0.005, 0.05)
    assert TrainSpec().num_gpu == 1


def test_one_annotator_an_image_and_the_newest_label_trains() -> None:
    rules = DatasetSpec(kind="folder", url="/nowhere")
    assert (rules.annotators_per_image, rules.train_on, rules.resolve) == (1, "submitted", "latest")
    assert (rules.import_labels, rules.labels_to, rules.write_predictions) == ("all", "store", False)


def test_nothing_kills_a_process_but_in_a_test(settings: Settings) -> None:
    fail_point(settings.model_copy(update={"failpoint": "here"}), "here")
    fail_point(settings.model_copy(update={"testing": True}), "here")

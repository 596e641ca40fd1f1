"""A mask without names where two experiments call one value by different names."""

from pathlib import Path

import pytest
from sqlalchemy import update

from infra.adapters.catalog.tables import Experiment, ExperimentDataset, ModelVersion
from infra.adapters.catalog.tables.base import new_id, now
from tasks.labels.choosing.release import release
from tasks.labels.incoming.save import LabelParams, save_label
from tests.integration.labels.conftest import LABELS, Clinic, label_file


@pytest.fixture
def version(folder: Clinic) -> str:
    """A model version of a second experiment, which calls 2 a lesion and agrees about 1."""
    with folder.parts.catalog.write() as session:
        labels = {"1": "liver", "2": "lesion"}
        second = Experiment(
            id=new_id(), org="clinic", name="lesions", arch="x", bundle_id="0" * 64, labels=labels, lineage="l2"
        )
        session.add(second)
        session.flush()
        made = ModelVersion(id=new_id(), experiment_id=second.id, number=0, bundle_id="0" * 64)
        session.add_all([made, ExperimentDataset(experiment_id=second.id, dataset_id=folder.dataset, use="train")])
        return made.id


@pytest.mark.usefixtures("version")
def test_it_waits_until_somebody_says_what_its_values_mean(folder: Clinic, tmp_path: Path) -> None:
    mask = label_file(tmp_path / "a.nii.gz")

    saved = save_label(folder.parts, folder.dataset, folder.image, mask, LabelParams(), "ann")

    assert (saved.quarantined, saved.counted) == (True, False)
    assert "2 could be lesion or spleen" in saved.warnings[0]
    release(folder.parts, saved.label_id, {1: "liver", 2: "spleen"}, "ann")
    [row] = folder.rows()
    assert (row.state, row.names) == ("active", {"1": "liver", "2": "spleen"})


@pytest.mark.usefixtures("version")
def test_it_is_released_by_name_when_both_experiments_are_gone(folder: Clinic, tmp_path: Path) -> None:
    mask = label_file(tmp_path / "a.nii.gz")
    saved = save_label(folder.parts, folder.dataset, folder.image, mask, LabelParams(), "ann")
    with folder.parts.catalog.write() as session:
        session.execute(update(Experiment).values(deleted_at=now()))

    release(folder.parts, saved.label_id, {1: "liver", 2: "spleen"}, "ann")

    [row] = folder.rows()
    assert (row.state, row.annotated) == ("active", ["liver", "spleen"])


@pytest.mark.usefixtures("version")
def test_with_names_it_counts_at_once(folder: Clinic, tmp_path: Path) -> None:
    mask = label_file(tmp_path / "a.nii.gz")

    saved = save_label(folder.parts, folder.dataset, folder.image, mask, LabelParams(names=LABELS), "ann")

    assert not saved.quarantined


@pytest.mark.usefixtures("version")
def test_a_name_of_either_experiment_is_no_reason_to_warn(folder: Clinic, tmp_path: Path) -> None:
    mask = label_file(tmp_path / "a.nii.gz")
    for names in ({1: "liver", 2: "spleen"}, {1: "liver", 2: "lesion"}):
        saved = save_label(folder.parts, folder.dataset, folder.image, mask, LabelParams(names=names), "ann")
        assert saved.warnings == []

    saved = save_label(
        folder.parts, folder.dataset, folder.image, mask, LabelParams(names={1: "liver", 2: "femur"}), "ann"
    )
    assert "femur" in saved.warnings[0]


def test_a_corrected_prediction_means_what_its_model_does(folder: Clinic, version: str, tmp_path: Path) -> None:
    mask = label_file(tmp_path / "a.nii.gz")

    saved = save_label(folder.parts, folder.dataset, folder.image, mask, LabelParams(base_version=version), "ann")

    assert not saved.quarantined
    assert folder.rows()[0].names == {"1": "liver", "2": "lesion"}

"""What is removed for good, and what a model's history keeps; classes and boxes in a round's snapshot."""

import os
from pathlib import Path

import pytest
from sqlalchemy import select

from configs.specs.round import RoundSpec
from infra.adapters.catalog.tables import Dataset, Experiment, Image, Label, VaultValue
from infra.adapters.catalog.tables.base import now
from tasks.images.forget import forget_dataset
from tasks.images.sync import sync_dataset
from tasks.labels.incoming.save import LabelParams, save_label
from tasks.labels.leave import hide
from tasks.labels.purge import FRESH_S, Purged, purge
from tasks.rounds.jobs.start import start_train
from tasks.rounds.records.snapshot import Snapshot
from tasks.rounds.steps.gather import gather
from tasks.rounds.steps.work import claim, read_snapshot
from tests.integration.labels.conftest import Clinic, label_file, marks

ORG = "clinic"


def _save(clinic: Clinic, source: Path, person: str = "ann") -> str:
    return save_label(clinic.parts, clinic.dataset, clinic.image, source, LabelParams(), person).label_id


def _round(clinic: Clinic) -> Snapshot:
    parts = clinic.parts
    with parts.catalog.write() as session:
        experiment = session.scalars(select(Experiment)).one()
        metadata = parts.settings.home / "bundles" / experiment.bundle_id / "configs" / "metadata.json"
        metadata.parent.mkdir(parents=True)
        metadata.write_text("{}")
        job = start_train(session, experiment, RoundSpec(), actor="test")
    held = claim(parts, job.id, 1)
    assert held is not None
    return read_snapshot(parts, gather(parts, held))


def _purge(clinic: Clinic) -> Purged:
    for path in clinic.parts.settings.home.rglob("*"):
        os.utime(path, (path.stat().st_atime, path.stat().st_mtime - 2 * FRESH_S))
    return purge(clinic.parts, ORG, 0, confirm=True)


def _hide(clinic: Clinic, label: str) -> None:
    with clinic.parts.catalog.write() as session:
        hide(session, label, "engineer")


@pytest.mark.parametrize("resolve", ["latest", "staple"])
def test_what_a_model_was_made_of_is_kept_until_its_experiment_is_deleted(
    resolve: str, folder: Clinic, tmp_path: Path
) -> None:
    with folder.parts.catalog.write() as session:
        row = session.get_one(Dataset, folder.dataset)
        row.spec = {**row.spec, "annotators_per_image": 2, "resolve": resolve}
    saved = [
        _save(folder, label_file(tmp_path / f"{person}.nii.gz", array), person)
        for person, array in (("anna", marks()), ("ben", marks()[::-1].copy()))
    ]
    snapshot = _round(folder)
    assert len(snapshot.rows) == 1
    for label in saved:
        _hide(folder, label)

    first = _purge(folder)
    assert first.kept == (2 if resolve == "staple" else 1)
    with folder.parts.catalog.write() as session:
        session.scalars(select(Experiment)).one().deleted_at = session.scalar(select(now()))
    second = _purge(folder)

    assert (first.labels + second.labels, second.kept) == (2, 0)
    assert not list((tmp_path / "images" / "teachback").rglob("*.nii.gz"))
    assert (tmp_path / "images" / "p" / "ct.nii.gz").exists()


def test_a_deleted_data_set_keeps_neither_names_nor_credentials(folder: Clinic, tmp_path: Path) -> None:
    label = _save(folder, label_file(tmp_path / "a.nii.gz"))
    parts = folder.parts
    with parts.catalog.write() as session:
        sealed = parts.vault.seal(ORG, '{"username": "u", "password": "p"}', "secret")
        session.add(VaultValue(id="secret", org=ORG, key_id=sealed.key_id, ciphertext=sealed.ciphertext))
        session.flush()
        row = session.get_one(Dataset, folder.dataset)
        row.secret_id, row.deleted_at = "secret", session.scalar(select(now()))

    done = _purge(folder)

    assert (done.datasets, done.labels) == (1, 1)
    with parts.catalog.read() as session:
        dataset, image = session.get_one(Dataset, folder.dataset), session.scalars(select(Image)).one()
        assert (dataset.name, dataset.secret_id, image.key, image.name) == ("", None, f"purged/{image.id}", "")
        assert session.scalars(select(VaultValue)).all() == []
        assert session.get_one(Label, label).store_key == f"purged/{label}"
    assert _purge(folder) == Purged()


def test_what_dicom_files_say_of_patients_is_not_kept_of_a_data_set_that_is_gone(
    folder: Clinic, tmp_path: Path
) -> None:
    for number, instance in enumerate(folder.series):
        (tmp_path / "images" / "q").mkdir(exist_ok=True)
        instance.save_as(tmp_path / "images" / "q" / f"{number}", enforce_file_format=True)
    sync_dataset(folder.parts, folder.dataset)
    cache = folder.parts.settings.cache_dir / "raw"
    assert len(list(cache.glob("*/*/series.json"))) == 1

    forget_dataset(folder.parts, folder.dataset)

    assert list(cache.glob("*/*/series.json")) == []


def test_a_round_is_given_classes_and_boxes_beside_its_masks(folder: Clinic, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"class": 2}')
    mask, label = _save(folder, label_file(tmp_path / "a.nii.gz")), _save(folder, tmp_path / "a.json")

    snapshot = _round(folder)

    assert [row.label for row in snapshot.rows] == [mask]
    assert [(one.label, one.kind, one.said, one.side) for one in snapshot.others] == [
        (label, "class", {"class": 2}, "train")
    ]

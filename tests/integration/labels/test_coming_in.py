"""Labels come in from clients and from stores: kept whole, written where they belong, learnt from where they fit."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import numpy as np
import pydicom
import pytest
import SimpleITK
from sqlalchemy import select

from configs.errors import InvalidRequestError
from configs.specs.round import RoundSpec
from infra.adapters.catalog.tables import (
    Image,
    SeenLabel,
)
from infra.adapters.images.base import StoredImage
from infra.adapters.images.folder import FolderStore
from infra.wiring import Parts
from tasks.images.stores import store_of
from tasks.images.sync import sync_dataset, take_in
from tasks.images.volume import Volume, write_nifti
from tasks.labels.forms.read import read_label
from tasks.labels.forms.write import write_seg
from tasks.labels.incoming.imports import import_labels
from tasks.labels.incoming.notice import Notice, check_notices
from tasks.labels.incoming.save import LabelParams, linked, save_label
from tasks.labels.incoming.whose import image_of_label
from tasks.rounds.records.snapshot import SnapshotRow
from tasks.rounds.steps.work import Claim, Work, cases_of
from tests.dicom_series import SHAPE, asymmetric, make_series
from tests.fixtures_orthanc import Orthanc
from tests.integration.labels.conftest import IMAGE, LABELS, Clinic, label_file, label_seg, marks


@pytest.mark.parametrize("kind", ["folder", "pacs"])
def test_a_saved_label_is_written_to_its_store_and_counts_once(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    clinic: Clinic = request.getfixturevalue(kind)
    source = label_file(tmp_path / "upload.nii.gz")

    first = save_label(clinic.parts, clinic.dataset, clinic.image, source, LabelParams(), "ann")
    again = save_label(clinic.parts, clinic.dataset, clinic.image, source, LabelParams(), "ann")

    assert (first.counted, again.counted) == (True, False)
    assert first.label == again.label
    assert first.warnings == []
    store = store_of(clinic.parts, clinic.dataset)
    [stored] = store.labels()
    assert stored.key == first.label
    found = read_label(store.fetch_label(stored.key, tmp_path / "into"), IMAGE)
    np.testing.assert_array_equal(found.array, marks())
    assert len(clinic.rows()) == 1


@pytest.mark.parametrize("kind", ["folder", "pacs"])
def test_a_later_notification_of_a_saved_label_changes_nothing(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    clinic: Clinic = request.getfixturevalue(kind)
    source = label_file(tmp_path / "a.nii.gz")
    saved = save_label(clinic.parts, clinic.dataset, clinic.image, source, LabelParams(), "ann")

    [notice] = check_notices(
        clinic.parts, clinic.dataset, [Notice(kind="added", image=clinic.image, label=saved.label)]
    )

    [row] = clinic.rows()
    assert (notice.store_key, notice.fingerprint) == (row.store_key, row.fingerprint)
    assert import_labels(clinic.parts, clinic.dataset) == 0


@pytest.mark.parametrize("kind", ["folder", "pacs"])
def test_a_seg_of_another_series_on_the_same_grid_is_kept_and_learnt(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    clinic: Clinic = request.getfixturevalue(kind)
    other = make_series(asymmetric(), IMAGE.affine)
    for instance in other:
        instance.FrameOfReferenceUID = clinic.series[0].FrameOfReferenceUID
    source = label_seg(clinic, tmp_path / "upload", other)

    saved = save_label(clinic.parts, clinic.dataset, clinic.image, source, LabelParams(), "ann")

    assert (saved.counted, saved.warnings) == (True, [])
    assert [label.key for label in store_of(clinic.parts, clinic.dataset).labels()] == [saved.label]


def test_a_seg_in_another_frame_of_reference_is_kept_in_quarantine(pacs: Clinic, tmp_path: Path) -> None:
    source = label_seg(pacs, tmp_path / "upload", make_series(asymmetric(), IMAGE.affine))

    saved = save_label(pacs.parts, pacs.dataset, pacs.image, source, LabelParams(), "ann")

    assert saved.quarantined
    assert "another frame of reference" in saved.warnings[0]


def test_a_second_listing_reads_no_label_again_that_it_has_seen(pacs: Clinic, orthanc: Orthanc, tmp_path: Path) -> None:
    theirs = [label_seg(pacs, tmp_path / f"{name}.dcm") for name in ("a", "b")]
    orthanc.upload([pydicom.dcmread(path) for path in theirs])
    before = len(list(store_of(pacs.parts, pacs.dataset).labels()))
    assert import_labels(pacs.parts, pacs.dataset) == 0  # of our own making, as these are, they are no labels to take

    with pacs.parts.catalog.read() as session:
        seen = set(session.scalars(select(SeenLabel.mark)))

    assert (before, len(seen)) == (2, 2)
    assert list(store_of(pacs.parts, pacs.dataset).labels(seen)) == []


def test_saving_a_label_fetches_no_series_again(pacs: Clinic, orthanc: Orthanc, tmp_path: Path) -> None:
    save_label(pacs.parts, pacs.dataset, pacs.image, label_file(tmp_path / "a.nii.gz"), LabelParams(), "ann")
    orthanc.remove(orthanc.lookup(pacs.series[2].SOPInstanceUID))  # fetched again it would lack a slice

    saved = save_label(
        pacs.parts, pacs.dataset, pacs.image, label_file(tmp_path / "b.nii.gz", marks() * 2 % 3), LabelParams(), "ann"
    )

    assert saved.warnings == []


def test_the_seg_in_the_pacs_says_who_made_it_and_how(pacs: Clinic, tmp_path: Path) -> None:
    source = label_file(tmp_path / "a.nii.gz")
    kinds = {
        "MANUAL": LabelParams(tag="a"),
        "SEMIAUTOMATIC": LabelParams(tag="b", base_version="version-7"),
        "AUTOMATIC": LabelParams(tag="c", base_version="version-7", unedited=True),
    }
    for number, (origin, params) in enumerate(kinds.items()):
        saved = save_label(pacs.parts, pacs.dataset, pacs.image, source, params, "Dr Ann")
        path = store_of(pacs.parts, pacs.dataset).fetch_label(saved.label, tmp_path / str(number))
        seg = pydicom.dcmread(path)
        assert {part.SegmentAlgorithmType for part in seg.SegmentSequence} == {origin}
        assert str(seg.ContentCreatorName) == "Dr Ann^"
        assert [part.SegmentLabel for part in seg.SegmentSequence] == ["liver", "spleen"]


def test_a_label_on_another_grid_is_kept_in_quarantine_and_not_counted(folder: Clinic, tmp_path: Path) -> None:
    write_nifti(Volume(marks(), np.eye(4)), tmp_path / "a.nii")

    saved = save_label(folder.parts, folder.dataset, folder.image, tmp_path / "a.nii", LabelParams(), "ann")

    assert (saved.quarantined, saved.counted) == (True, False)
    assert "does not lie on the image's" in saved.warnings[0]
    [row] = folder.rows()
    assert row.blob is not None
    assert folder.parts.blobs.read_bytes(row.blob) == (tmp_path / "a.nii").read_bytes()
    assert list(store_of(folder.parts, folder.dataset).labels()) == []


def test_bytes_that_nobody_can_read_are_refused(folder: Clinic, tmp_path: Path) -> None:
    (tmp_path / "a.nii.gz").write_bytes(b"\x1f\x8bnonsense")

    with pytest.raises(InvalidRequestError):
        save_label(folder.parts, folder.dataset, folder.image, tmp_path / "a.nii.gz", LabelParams(), "ann")
    assert folder.rows() == []


@pytest.mark.parametrize(
    ("name", "made"),
    [
        ("p/ct.nii.gz", ".nii.gz"),
        ("final/p/ct.seg.nrrd", ".nrrd"),
        ("version_1/p/ct.seg.nrrd", ".nrrd"),
        ("p/ct.mhd", ".mhd"),
        ("final/p/ct.NII", ".nii"),
        ("final/p/ct.nii.gz", ".nrrd"),  # as programs leave it that name a label after its image
    ],
)
def test_labels_of_the_users_are_imported_once_whatever_their_ending(
    name: str, made: str, folder: Clinic, tmp_path: Path
) -> None:
    theirs = tmp_path / "images" / "labels" / name
    theirs.parent.mkdir(parents=True)
    whole = label_file(tmp_path / "whole.nii.gz")
    SimpleITK.WriteImage(SimpleITK.ReadImage(whole), theirs.with_name(f"ct{made}"))
    theirs.with_name(f"ct{made}").rename(theirs)

    assert import_labels(folder.parts, folder.dataset) == 1
    assert import_labels(folder.parts, folder.dataset) == 0
    [row] = folder.rows()
    assert (row.imported, row.blob) == (True, folder.parts.blobs.put_file(theirs) if made != ".mhd" else row.blob)
    with tempfile.TemporaryDirectory() as scratch:
        label = linked(folder.parts.blobs.path(row.blob or ""), Path(scratch))
        np.testing.assert_array_equal(read_label(label, IMAGE).array, marks())


def test_a_seg_that_somebody_put_in_the_pacs_is_imported(pacs: Clinic, orthanc: Orthanc, tmp_path: Path) -> None:
    seg = pydicom.dcmread(label_seg(pacs, tmp_path / "a.dcm"))
    seg.Manufacturer = "Another vendor"
    orthanc.upload([seg])

    assert import_labels(pacs.parts, pacs.dataset) == 1
    [row] = pacs.rows()
    assert (row.store_key, row.imported) == (seg.SeriesInstanceUID, True)


def test_a_model_s_own_seg_in_the_pacs_is_no_label(pacs: Clinic, orthanc: Orthanc, tmp_path: Path) -> None:
    path = tmp_path / "a.dcm"
    volume = Volume(marks(), IMAGE.affine)
    write_seg(volume, LABELS, pacs.series, path, label_id=uuid4().hex, author="E", origin="AUTOMATIC")
    orthanc.upload([pydicom.dcmread(path)])
    key = pydicom.dcmread(path).SeriesInstanceUID

    assert import_labels(pacs.parts, pacs.dataset) == 0
    with pytest.raises(InvalidRequestError, match="made by a program"):
        check_notices(pacs.parts, pacs.dataset, [Notice(kind="added", image=pacs.image, label=key)])


class _Growing(FolderStore):
    """A folder into which an image is put while its last image is being listed."""

    parts: Parts
    dataset: str

    def images(self) -> Iterator[StoredImage]:
        """List, and put."""
        *found, last = super().images()
        yield from found
        yield last
        self.put_image("p/new", self._root / f"{last.key}.nii.gz")
        take_in(self.parts, self.dataset, self, self.image("p/new"))


def test_an_image_that_is_put_while_its_store_is_listed_is_not_gone(folder: Clinic, tmp_path: Path) -> None:
    store = _Growing(tmp_path / "images")
    store.parts, store.dataset = folder.parts, folder.dataset

    assert sync_dataset(folder.parts, folder.dataset, store=store).gone == 0

    with folder.parts.catalog.read() as session:
        assert session.scalars(select(Image.open).where(Image.key == "p/new")).one()


def test_a_labelled_image_that_was_away_comes_back_labelled(folder: Clinic, tmp_path: Path) -> None:
    file, away = tmp_path / "images" / "p" / "ct.nii.gz", tmp_path / "away.nii.gz"
    label = tmp_path / "label.nii.gz"
    write_nifti(Volume(np.ones(SHAPE, np.uint8), IMAGE.affine), label)
    assert save_label(folder.parts, folder.dataset, folder.image, label, LabelParams(), "ann").counted
    file.rename(away)
    assert sync_dataset(folder.parts, folder.dataset).gone == 1
    away.rename(file)

    sync_dataset(folder.parts, folder.dataset)

    with folder.parts.catalog.read() as session:
        image = session.scalars(select(Image)).one()
        assert (image.open, image.skipped_reason) == (False, "")


def test_an_image_that_vanished_from_its_store_is_left_out_of_the_round(folder: Clinic, tmp_path: Path) -> None:
    label = tmp_path / "label.nii.gz"
    write_nifti(Volume(np.ones(SHAPE, np.uint8), IMAGE.affine), label)
    saved = save_label(folder.parts, folder.dataset, folder.image, label, LabelParams(), "ann")
    parts, row = folder.parts, folder.rows()[0]
    with parts.catalog.read() as session:
        fingerprint = session.scalars(select(Image.fingerprint)).one()
    assert row.blob is not None
    snapshot_row = SnapshotRow(
        dataset=folder.dataset,
        image=row.image_id,
        image_fingerprint=fingerprint,
        label=saved.label_id,
        label_sha256=row.blob,
        label_ending=".nii.gz",
        side="train",
        patient="p",
    )
    opened = Work(
        claim=Claim(job_id="job", n=1, holder="holder"),
        experiment_id="",
        dataset_id=folder.dataset,
        bundle_id="",
        bundle=tmp_path,
        weights_policy="file",
        labels=LABELS,
        spec=RoundSpec(),
        parent_id=None,
        folder=tmp_path / "work",
    )
    with parts.cache.pin() as pin:
        assert len(cases_of(parts, opened, [snapshot_row], pin)) == 1
        shutil.rmtree(parts.settings.cache_dir / "raw")
        (tmp_path / "images" / "p" / "ct.nii.gz").unlink()

        assert cases_of(parts, opened, [snapshot_row], pin) == []


def test_a_file_speaks_of_the_image_of_exactly_its_name(folder: Clinic, tmp_path: Path) -> None:
    for name in ("a/CT1", "b/ct1", "c/xct1"):
        (tmp_path / "images" / name).parent.mkdir()
        (tmp_path / "images" / f"{name}.nii").touch()
    sync_dataset(folder.parts, folder.dataset)

    with folder.parts.catalog.read() as session:
        assert image_of_label(session, folder.dataset, tmp_path / "ct1.nii.gz", "ct1.nii.gz") == "b/ct1"

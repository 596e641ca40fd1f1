"""Where labels go, and which of a source's labels come in."""

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from sqlalchemy import select

from configs.errors import InvalidRequestError
from configs.states import LabelState
from infra.adapters.catalog.tables import Dataset, Image, Label
from infra.adapters.images.base import LabelToStore
from infra.adapters.images.places import open_place
from tasks.images.stores import store_of
from tasks.labels.choosing.choose import choices
from tasks.labels.choosing.learnt import learnable, structured
from tasks.labels.choosing.staple import derive_labels, staple
from tasks.labels.forms.read import read_label
from tasks.labels.incoming.imports import import_labels, since_of
from tasks.labels.incoming.notice import Notice, check_notices
from tasks.labels.incoming.save import LabelParams, save_label
from tasks.labels.leave import hide
from tasks.rounds.count import notify
from tests.dicom_series import SHAPE, asymmetric, make_series
from tests.fixtures_orthanc import Orthanc
from tests.integration.labels.conftest import IMAGE, LABELS, Clinic, label_file, label_seg, marks


def _says(clinic: Clinic, **said: Any) -> None:
    with clinic.parts.catalog.write() as session:
        row = session.get_one(Dataset, clinic.dataset)
        row.spec = {**row.spec, **said}


def _save(clinic: Clinic, source: Path, person: str = "ann", **params: Any) -> Label:
    saved = save_label(clinic.parts, clinic.dataset, clinic.image, source, LabelParams(**params), person)
    with clinic.parts.catalog.read() as session:
        return session.get_one(Label, saved.label_id)


@pytest.mark.parametrize("scheme", ["file://", ""])
def test_labels_go_to_a_folder_of_their_own(scheme: str, folder: Clinic, tmp_path: Path) -> None:
    (tmp_path / "labels").mkdir()
    _says(folder, labels_to=f"{scheme}{tmp_path}/labels")

    row = _save(folder, label_file(tmp_path / "a.nii.gz"))

    assert (row.place, row.store_key) == ("elsewhere", f"teachback/labels/p/ct/{row.id}.nii.gz")
    assert (tmp_path / "labels" / row.store_key).read_bytes() == (tmp_path / "a.nii.gz").read_bytes()
    assert not (tmp_path / "images" / "teachback").exists()
    assert import_labels(folder.parts, folder.dataset) == 0
    [notice] = check_notices(folder.parts, folder.dataset, [Notice(kind="added", image="p/ct", label=row.store_key)])
    assert notice.label_id == row.id


def test_another_pacs_takes_labels_of_images_that_it_has_not(pacs: Clinic, orthanc: Orthanc, tmp_path: Path) -> None:
    elsewhere = make_series(asymmetric(), IMAGE.affine)
    source = LabelToStore(id="abc", path=label_seg(pacs, tmp_path / "a.dcm", elsewhere))
    place = open_place(orthanc.dicomweb)

    first = place.put_label(elsewhere[0].SeriesInstanceUID, source)

    assert place.put_label(elsewhere[0].SeriesInstanceUID, source) == first
    assert orthanc.lookup(first.key)


def test_credentials_are_for_the_images_own_server_and_a_label_waits_for_one_that_asks_for_others(
    pacs: Clinic, locked_orthanc: Orthanc, tmp_path: Path
) -> None:
    _says(pacs, labels_to=locked_orthanc.dicomweb)

    row = _save(pacs, label_file(tmp_path / "b.nii.gz"))

    assert (row.place, row.state, row.upload_pending) == ("elsewhere", LabelState.ACTIVE, True)


def test_a_place_that_lets_us_read_only_leaves_the_label_with_us_and_says_so(folder: Clinic, tmp_path: Path) -> None:
    _says(folder, labels_to="file:///sys/kernel")

    saved = save_label(
        folder.parts, folder.dataset, folder.image, label_file(tmp_path / "a.nii.gz"), LabelParams(), "ann"
    )

    assert saved.warnings == ["The image store is read-only: the label is kept here."]
    assert (saved.counted, saved.pending_upload, saved.label) == (True, False, f"home/{saved.label_id}")


def test_an_object_store_takes_a_label_once(tmp_path: Path) -> None:
    source = LabelToStore(id="abc", path=label_file(tmp_path / "a.nii.gz"))
    place = open_place("memory://bucket/x")

    first, again = place.put_label("p/ct", source), place.put_label("p/ct", source)

    assert first == again
    assert first.key == "teachback/labels/p/ct/abc.nii.gz"
    with pytest.raises(InvalidRequestError):
        place.put_label("../../etc", source)


@pytest.mark.parametrize("written", [False, True])
def test_a_prediction_goes_to_the_store_only_where_the_data_set_says_so(
    written: bool, pacs: Clinic, tmp_path: Path
) -> None:
    _says(pacs, write_predictions=written)

    row = _save(pacs, label_file(tmp_path / "a.nii.gz"), tag="original")

    assert (row.state, row.place) == (LabelState.PREDICTION, "store" if written else "home")
    found = list(store_of(pacs.parts, pacs.dataset).labels())
    assert [label.automatic for label in found] == [True] * written
    assert import_labels(pacs.parts, pacs.dataset) == 0


def test_json_stays_with_us_where_the_images_are_in_a_pacs(pacs: Clinic, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"class": 2}')
    row = _save(pacs, tmp_path / "a.json")

    assert (row.kind, row.place) == ("class", "home")
    assert "keeps no JSON" in str(row.warnings)
    with pacs.parts.catalog.read() as session:
        assert [label.id for label in structured(session, pacs.dataset, 10)] == [row.id]
        assert learnable(session, pacs.dataset, 10, LABELS) == []


def test_labels_since_a_day_come_in_and_older_ones_do_not(folder: Clinic, tmp_path: Path) -> None:
    theirs = tmp_path / "images" / "labels" / "p"
    theirs.mkdir(parents=True)
    made = label_file(theirs / "ct.nii.gz")
    then = datetime(2025, 3, 1, 12, tzinfo=UTC).timestamp()
    os.utime(made, (then, then))

    _says(folder, import_labels="since 2025-03-02")
    assert import_labels(folder.parts, folder.dataset) == 0
    os.utime(made, (then + 86400, then + 86400))
    assert import_labels(folder.parts, folder.dataset) == 1
    with pytest.raises(InvalidRequestError, match="no day"):
        since_of("since 2025-02-30")


def test_where_labels_of_the_source_are_not_wanted_none_comes_in(folder: Clinic, tmp_path: Path) -> None:
    theirs = tmp_path / "images" / "labels" / "p"
    theirs.mkdir(parents=True)
    label_file(theirs / "ct.nii.gz")
    _says(folder, import_labels="none")

    assert import_labels(folder.parts, folder.dataset) == 0
    assert folder.rows() == []


def test_a_label_that_is_gone_from_the_source_is_taken_out_and_comes_in_again_when_it_is_back(
    folder: Clinic, tmp_path: Path
) -> None:
    theirs = tmp_path / "images" / "labels" / "p"
    theirs.mkdir(parents=True)
    made = label_file(theirs / "ct.nii.gz")
    assert import_labels(folder.parts, folder.dataset) == 1
    made.rename(tmp_path / "away.nii.gz")

    import_labels(folder.parts, folder.dataset)
    [row] = folder.rows()
    assert row.state == LabelState.REMOVED
    with folder.parts.catalog.read() as session:
        assert session.scalars(select(Image)).one().open
    (tmp_path / "away.nii.gz").rename(made)
    import_labels(folder.parts, folder.dataset)
    [row] = folder.rows()
    assert (row.state, row.imported) == (LabelState.ACTIVE, True)

    with folder.parts.catalog.write() as session:
        hide(session, row.id, "engineer")
    import_labels(folder.parts, folder.dataset)
    assert folder.rows()[0].state == LabelState.REMOVED


def test_a_label_that_a_person_took_out_does_not_come_back_by_itself(
    pacs: Clinic, orthanc: Orthanc, tmp_path: Path
) -> None:
    seg = pydicom.dcmread(label_seg(pacs, tmp_path / "a.dcm"))
    seg.Manufacturer = "Another vendor"
    orthanc.upload([seg])
    import_labels(pacs.parts, pacs.dataset)
    removed = check_notices(
        pacs.parts, pacs.dataset, [Notice(kind="removed", image=pacs.image, label=str(seg.SeriesInstanceUID))]
    )
    with pacs.parts.catalog.write() as session:
        assert notify(session, pacs.dataset, removed, "ann") == 1

    import_labels(pacs.parts, pacs.dataset)

    assert [row.state for row in pacs.rows()] == [LabelState.REMOVED]


def test_what_several_people_say_is_joined_into_a_derived_version_once(folder: Clinic, tmp_path: Path) -> None:
    _says(folder, annotators_per_image=2, resolve="staple")
    other = marks()
    other[5:, :, 1] = 0
    for person, array in (("anna", marks()), ("ben", other)):
        _save(folder, label_file(tmp_path / f"{person}.nii.gz", array), person)

    assert derive_labels(folder.parts, folder.dataset, 10, LABELS) == 1
    assert derive_labels(folder.parts, folder.dataset, 10, LABELS) == 0

    with folder.parts.catalog.read() as session:
        [(label, _image)] = learnable(session, folder.dataset, 10, LABELS)
        assert len(choices(session, folder.dataset, 10, LABELS)[0]) == 2
    assert (label.state, label.tool, label.annotated) == (LabelState.DERIVED, "STAPLE", ["liver", "spleen"])
    assert label.blob is not None
    path = tmp_path / "derived.nii.gz"
    path.write_bytes(folder.parts.blobs.read_bytes(label.blob))
    joined = read_label(path, IMAGE).array
    agreed = marks() == other
    np.testing.assert_array_equal(joined[agreed], marks()[agreed])
    assert json.loads(json.dumps(label.params))["from"] == sorted(
        row.id for row in folder.rows() if row.state == LabelState.ACTIVE
    )


def test_staple_sides_with_the_many_and_leaves_nothing_where_nobody_marked() -> None:
    truth = np.zeros((8, 8, 8), np.uint8)
    truth[2:6, 2:6, 2:6], truth[6:, 6:, 6:] = 1, 2
    astray = truth.copy()
    astray[2:4, 2:6, 2:6] = 0

    np.testing.assert_array_equal(staple([truth, truth, astray]), truth)
    assert staple([np.zeros(SHAPE, np.uint8)] * 2).max() == 0

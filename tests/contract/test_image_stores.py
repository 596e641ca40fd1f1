"""Every image store keeps the same promises."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal
from uuid import uuid4

import numpy as np
import pytest

from configs.errors import ConflictError, InvalidRequestError, NotFoundError
from infra.adapters.images.base import ImageStore, LabelToStore
from infra.adapters.images.dicomweb import DicomWebStore
from infra.adapters.images.folder import FolderStore
from tasks.images.volume import Volume, read_volume, write_nifti
from tasks.labels.forms.write import write_seg
from tests.dicom_series import SHAPE, asymmetric, make_series, oblique_affine
from tests.fixtures_objects import KINDS, Bucket, Kind, new_bucket
from tests.fixtures_orthanc import Orthanc


@dataclass(frozen=True)
class Case:
    """A store with two images of two patients, and a way to make labels for the first."""

    store: ImageStore
    first: str
    second: str
    patients: set[str]
    new_label: Callable[[str, int], LabelToStore]


@pytest.fixture(params=["folder", "dicomweb", *KINDS])
def case(request: pytest.FixtureRequest, tmp_path: Path) -> Case:
    if request.param in KINDS:
        return _objects(new_bucket(request.param, request), tmp_path)
    return _folder(tmp_path) if request.param == "folder" else _dicomweb(request.getfixturevalue("orthanc"), tmp_path)


def _folder(tmp_path: Path) -> Case:
    root = tmp_path / "root"
    for patient in ("anna", "bert"):
        (root / patient).mkdir(parents=True)
        write_nifti(Volume(asymmetric(), oblique_affine()), root / patient / "ct.nii.gz")

    return Case(FolderStore(root), "anna/ct", "bert/ct", {"anna", "bert"}, partial(_mask, tmp_path))


def _objects(bucket: Bucket, tmp_path: Path) -> Case:
    entries = []
    for patient in ("anna", "bert"):
        path = tmp_path / f"{patient}.nii.gz"
        write_nifti(Volume(asymmetric(), oblique_affine()), path)
        bucket.put(f"{patient}/ct.nii.gz", path.read_bytes())
        entries.append({"image": {"path": [f"{patient}/ct.nii.gz"], "id": f"{patient} ct/1"}, "patient": patient})
    store = bucket.store(bucket.manifest(*entries), tmp_path / "cache")
    return Case(store, "anna ct/1", "bert ct/1", {"anna", "bert"}, partial(_mask, tmp_path))


def _mask(folder: Path, name: str, value: int) -> LabelToStore:
    path = folder / f"{uuid4().hex}.nii.gz"
    write_nifti(Volume(np.full(SHAPE, value, np.uint8), oblique_affine()), path)
    return LabelToStore(id=name, path=path)


def _dicomweb(orthanc: Orthanc, tmp_path: Path) -> Case:
    marker = uuid4().hex[:12]
    series = [make_series(asymmetric(), oblique_affine(), patient=f"{marker}-{name}") for name in ("anna", "bert")]
    for instances in series:
        orthanc.upload(instances)

    def new_label(name: str, value: int) -> LabelToStore:
        path = tmp_path / f"{uuid4().hex}.dcm"
        array = np.zeros(SHAPE, np.uint8)
        array[value] = 1
        write_seg(
            Volume(array, oblique_affine()), {1: "liver"}, list(series[0]), path, label_id=f"{marker}{name}{value}",
            author="A", origin="MANUAL",
        )  # fmt: skip
        return LabelToStore(id=name, path=path)

    store = DicomWebStore(orthanc.dicomweb, filters=f"PatientID={marker}*")
    keys = [instances[0].SeriesInstanceUID for instances in series]
    return Case(store, keys[0], keys[1], {f"{marker}-anna", f"{marker}-bert"}, new_label)


def test_images_are_listed_with_their_patients(case: Case) -> None:
    images = {image.key: image for image in case.store.images()}

    assert set(images) == {case.first, case.second}
    assert {image.patient for image in images.values()} == case.patients
    assert images[case.first] == case.store.image(case.first).model_copy(update={"file": ""}), "no listing tells it"
    assert images[case.first].fingerprint != images[case.second].fingerprint


def test_a_fetched_image_has_the_stored_voxels_in_the_system_s_order(case: Case, tmp_path: Path) -> None:
    fetched = case.store.fetch(case.first, tmp_path / "into")

    [path] = fetched.paths
    volume = read_volume(path)
    np.testing.assert_array_equal(volume.array, asymmetric())
    np.testing.assert_allclose(volume.affine, oblique_affine(), atol=1e-4)
    assert fetched.sha256 == case.store.fetch(case.first, tmp_path / "again").sha256


@pytest.mark.parametrize("key", ["", "nope", "../root/anna/ct", "/etc/passwd", "anna/../bert/ct", "1.2.3", "*", "a\0b"])
def test_a_key_that_names_nothing_in_the_store_is_refused(case: Case, key: str, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        case.store.image(key)
    with pytest.raises(NotFoundError):
        case.store.fetch(key, tmp_path / "into")
    with pytest.raises(NotFoundError):
        case.store.fetch_label(key, tmp_path / "into")
    with pytest.raises(NotFoundError):
        case.store.label(case.first, key)


def test_a_stored_label_is_found_again(case: Case, tmp_path: Path) -> None:
    source = case.new_label("one", 1)

    stored = case.store.put_label(case.first, source)

    assert stored.image == case.first
    assert stored.ours
    assert not stored.automatic
    found = case.store.label(case.first, stored.key)
    assert (found.key, found.fingerprint) == (stored.key, stored.fingerprint)
    assert [label.key for label in case.store.labels()] == [stored.key]
    assert case.store.fetch_label(stored.key, tmp_path / "into").stat().st_size > 0
    assert {image.key for image in case.store.images()} == {case.first, case.second}


def test_storing_a_label_twice_makes_one(case: Case) -> None:
    source = case.new_label("one", 1)

    assert case.store.put_label(case.first, source).key == case.store.put_label(case.first, source).key
    assert len(list(case.store.labels())) == 1


def test_another_version_is_another_label(case: Case) -> None:
    first = case.store.put_label(case.first, case.new_label("one", 1))
    second = case.store.put_label(case.first, case.new_label("two", 2))

    assert first.key != second.key
    assert first.fingerprint != second.fingerprint
    assert case.store.label(case.first, first.key).fingerprint == first.fingerprint


def test_a_label_of_one_image_is_not_another_s(case: Case) -> None:
    stored = case.store.put_label(case.first, case.new_label("one", 1))

    with pytest.raises(NotFoundError):
        case.store.label(case.second, stored.key)
    with pytest.raises(NotFoundError):
        case.store.put_label("nope", case.new_label("two", 2))


def test_bytes_of_a_strange_kind_are_refused(case: Case, tmp_path: Path) -> None:
    path = tmp_path / "label.exe"
    path.write_bytes(b"MZ")

    with pytest.raises(InvalidRequestError):
        case.store.put_label(case.first, LabelToStore(id="one", path=path))
    assert list(case.store.labels()) == []


def test_two_stores_of_one_place_have_one_identity(case: Case) -> None:
    assert case.store.identity == case.store.identity
    assert case.store.identity != FolderStore(Path("/")).identity


@pytest.mark.parametrize("kind", ["folder", *KINDS])
def test_a_taken_label_id_is_never_overwritten(
    kind: Literal["folder"] | Kind, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    case = _folder(tmp_path) if kind == "folder" else _objects(new_bucket(kind, request), tmp_path)
    stored = case.store.put_label(case.first, case.new_label("one", 1))

    with pytest.raises(ConflictError):
        case.store.put_label(case.first, case.new_label("one", 2))
    assert case.store.label(case.first, stored.key).fingerprint == stored.fingerprint

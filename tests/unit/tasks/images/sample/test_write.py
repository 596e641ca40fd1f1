"""Sample cases on disk: where they lie, that they repeat, that image and labels agree."""

import hashlib
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK

from configs.errors import ConflictError, InvalidRequestError
from tasks.images.sample import write_cases
from tasks.images.sample.templates import COLIN27_LABELS, MNI152_LABELS, colin27_is_here, load_template
from tests.processes import skip_or_fail


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def voxels(path: Path) -> np.ndarray:
    return np.asarray(nib.load(path).dataobj)


def test_each_case_is_a_patient_with_labels_apart_from_the_images(tmp_path: Path) -> None:
    written = write_cases(tmp_path / "images", tmp_path / "truth", count=2, seed=7, spacing_mm=6)

    assert written.labels == MNI152_LABELS
    assert [case.patient for case in written.cases] == ["sample-001", "sample-002"]
    assert {path.relative_to(tmp_path / "images").as_posix() for path in (tmp_path / "images").rglob("*.nii.gz")} == {
        "sample-001/t1.nii.gz",
        "sample-002/t1.nii.gz",
    }
    for case in written.cases:
        assert case.truth is not None
        image, labels = nib.load(case.image), nib.load(case.truth)
        assert np.array_equal(image.affine, labels.affine)
        assert nib.aff2axcodes(image.affine) == ("L", "P", "S")
        assert image.shape == labels.shape == (30, 36, 30)
        assert set(np.unique(voxels(case.truth))) == {0, 1, 2, 3}


def test_a_case_depends_on_its_number_and_the_seed_alone(tmp_path: Path) -> None:
    three = write_cases(tmp_path / "three", tmp_path / "truth", count=3, seed=7, spacing_mm=6)
    third = write_cases(tmp_path / "third", None, count=1, seed=7, spacing_mm=6, first=3)
    other = write_cases(tmp_path / "other", None, count=1, seed=8, spacing_mm=6, first=3)

    assert third.cases[0].truth is None
    assert sha256(three.cases[2].image) == sha256(third.cases[0].image)
    assert not np.array_equal(voxels(three.cases[2].image), voxels(other.cases[0].image))
    assert not np.array_equal(voxels(three.cases[1].image), voxels(three.cases[2].image))


def test_a_dicom_series_is_read_by_another_library_on_the_grid_of_its_labels(tmp_path: Path) -> None:
    (case,) = write_cases(tmp_path / "i", tmp_path / "t", count=1, seed=7, spacing_mm=6, form="dicom").cases
    (as_file,) = write_cases(tmp_path / "n", None, count=1, seed=7, spacing_mm=6).cases
    assert case.truth is not None

    files = SimpleITK.ImageSeriesReader.GetGDCMSeriesFileNames(str(case.image), case.series_uid)
    series, labels = SimpleITK.ReadImage(files), SimpleITK.ReadImage(str(case.truth))

    assert series.GetSize() == labels.GetSize()
    assert series.GetSpacing() == pytest.approx(labels.GetSpacing())
    assert series.GetOrigin() == pytest.approx(labels.GetOrigin())
    assert series.GetDirection() == pytest.approx(labels.GetDirection())
    assert np.array_equal(SimpleITK.GetArrayFromImage(series).T, voxels(as_file.image))


def test_the_same_case_is_the_same_series_byte_for_byte(tmp_path: Path) -> None:
    (one,) = write_cases(tmp_path / "one", None, count=1, seed=7, spacing_mm=6, form="dicom").cases
    (two,) = write_cases(tmp_path / "two", None, count=1, seed=7, spacing_mm=6, form="dicom").cases
    (three,) = write_cases(tmp_path / "three", None, count=1, seed=8, spacing_mm=6, form="dicom").cases

    assert one.series_uid == two.series_uid != three.series_uid
    assert [sha256(path) for path in sorted(one.image.iterdir())] == [
        sha256(path) for path in sorted(two.image.iterdir())
    ]


def test_the_inverted_contrast_shows_the_same_head(tmp_path: Path) -> None:
    (plain,) = write_cases(tmp_path / "a", tmp_path / "at", count=1, seed=7, spacing_mm=6).cases
    (inverted,) = write_cases(tmp_path / "b", tmp_path / "bt", count=1, seed=7, spacing_mm=6, contrast="inverted").cases
    assert plain.truth is not None
    assert inverted.truth is not None

    truth = voxels(plain.truth)
    assert np.array_equal(truth, voxels(inverted.truth))
    grey, white = (np.median(voxels(plain.image)[truth == value]) for value in (1, 2))
    inverted_grey, inverted_white = (np.median(voxels(inverted.image)[truth == value]) for value in (1, 2))
    assert grey < white
    assert inverted_grey > inverted_white


def test_labels_inside_the_image_folder_are_refused_and_nothing_is_written(tmp_path: Path) -> None:
    with pytest.raises(ConflictError, match="inside the image folder"):
        write_cases(tmp_path / "images", tmp_path / "images" / "truth", count=1, seed=7)
    assert not list(tmp_path.iterdir())


def test_a_case_that_exists_is_not_overwritten_and_nothing_is_written(tmp_path: Path) -> None:
    (tmp_path / "sample-002").mkdir()
    with pytest.raises(ConflictError, match="sample-002 exists"):
        write_cases(tmp_path, None, count=2, seed=7, spacing_mm=6)
    assert [path.name for path in tmp_path.iterdir()] == ["sample-002"]


def test_a_spacing_no_template_supports_is_refused() -> None:
    with pytest.raises(InvalidRequestError, match="choose from 1 to 6 mm"):
        load_template("mni152", 0.5)


def test_colin27_has_its_three_regions_where_its_files_are_installed(tmp_path: Path) -> None:
    if not colin27_is_here():
        skip_or_fail("Debian's package mricron-data is not installed here.")
    written = write_cases(tmp_path / "images", tmp_path / "truth", count=1, seed=7, source="colin27")

    assert written.labels == COLIN27_LABELS
    assert written.cases[0].truth is not None
    assert set(np.unique(voxels(written.cases[0].truth))) == {0, 1, 2, 3}

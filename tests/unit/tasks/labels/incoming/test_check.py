"""A label is said to be learnable, or why it is not; it is never refused while it can be read."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from configs.errors import InvalidRequestError
from tasks.images.geometry import Geometry
from tasks.images.volume import Volume, read_volume, write_nifti
from tasks.labels.forms.write import to_nrrd
from tasks.labels.incoming.check import check_label
from tasks.labels.incoming.names import Names
from tests.dicom_series import SHAPE, oblique_affine

IMAGE = Geometry(SHAPE, oblique_affine())
HERE = Names({0: "background", 1: "liver", 2: "left_kidney", 7: "spleen"})


def _save(path: Path, *values: float, dtype: str = "uint8") -> Path:
    array: NDArray[np.generic] = np.zeros(SHAPE, dtype)
    for index, value in enumerate(values):
        array[index, 2, 1] = value
    write_nifti(Volume(array, IMAGE.affine), path)
    return path


def test_without_names_the_values_are_the_experiment_s(tmp_path: Path) -> None:
    checked = check_label(IMAGE, _save(tmp_path / "a.nii", 1, 7), HERE)

    assert checked.values == [1, 7]
    assert checked.annotated == ["liver", "left_kidney", "spleen"]
    assert (checked.quarantine, checked.warnings, checked.empty) == (None, [], False)


def test_names_map_values_whatever_their_case_and_blanks(tmp_path: Path) -> None:
    path = _save(tmp_path / "a.nii", 1, 2)

    checked = check_label(IMAGE, path, HERE, names={1: "Left Kidney", 2: "LIVER"}, write_to=tmp_path / "out.nii.gz")

    written = read_volume(tmp_path / "out.nii.gz")
    assert written.array[:2, 2, 1].tolist() == [2, 1]
    np.testing.assert_allclose(written.affine, IMAGE.affine, atol=1e-5)
    assert checked.annotated == ["liver", "left_kidney"]


def test_unknown_names_are_warned_about_and_not_learnt(tmp_path: Path) -> None:
    path = _save(tmp_path / "a.nii", 1, 2, 3)

    checked = check_label(IMAGE, path, HERE, names={1: "liver", 2: "gallbladder"})

    assert checked.values == [1]
    assert checked.annotated == ["liver"]
    assert [("gallbladder" in warning, "values 3" in warning) for warning in checked.warnings] == [
        (True, False),
        (False, True),
    ]


def test_voxels_that_nobody_has_looked_at_stay_so_beside_those_that_are_labelled(tmp_path: Path) -> None:
    path, out = _save(tmp_path / "a.nii", 2, 255), tmp_path / "out.nii.gz"

    checked = check_label(IMAGE, path, HERE, names={2: "liver"}, write_to=out)

    assert (checked.quarantine, checked.values) == (None, [1])
    assert ["not looked at" in warning for warning in checked.warnings] == [True]
    assert read_volume(out).array[:3, 2, 1].tolist() == [1, 255, 0]


def test_a_mask_that_says_true_by_255_is_not_taken_for_one_that_nobody_looked_at(tmp_path: Path) -> None:
    assert "255" in str(check_label(IMAGE, _save(tmp_path / "a.nii", 255), HERE).quarantine)


def test_names_that_another_experiment_learns_are_no_news(tmp_path: Path) -> None:
    path = _save(tmp_path / "a.nii", 1, 2)

    checked = check_label(
        IMAGE,
        path,
        replace(HERE, elsewhere=frozenset({"gall bladder", "lesion"})),
        names={1: "liver", 2: "Gall_Bladder"},
        annotated=["liver", "lesion"],
    )

    assert (checked.warnings, checked.quarantine, checked.values) == ([], None, [1])


def test_a_label_cut_out_of_its_image_s_grid_says_so(tmp_path: Path) -> None:
    array = np.zeros(SHAPE, np.uint8)
    array[2:4, 2:4, 2] = 1
    cut = Volume(array[1:5, :, 1:], IMAGE.affine.copy())
    cut.affine[:3, 3] = (IMAGE.affine @ [1, 0, 1, 1])[:3]
    write_nifti(cut, tmp_path / "a.nii")

    checked = check_label(IMAGE, tmp_path / "a.nii", HERE)

    assert checked.values == [1]
    assert "covers 4 x 6 x 4 of its image's 7 x 6 x 5 voxels" in checked.warnings[0]


def test_the_caller_may_say_what_was_annotated(tmp_path: Path) -> None:
    checked = check_label(IMAGE, _save(tmp_path / "a.nii", 1), HERE, annotated=["Liver", "SPLEEN"])

    assert checked.annotated == ["liver", "spleen"]


def test_a_name_that_the_caller_speaks_about_and_the_experiment_has_not_is_told(tmp_path: Path) -> None:
    checked = check_label(IMAGE, _save(tmp_path / "a.nii", 1), HERE, annotated=["liver", "thymus"])

    assert checked.annotated == ["liver"]
    assert checked.warnings == ["The experiment has no such label: thymus"]


def test_marks_of_a_name_that_the_caller_does_not_speak_about_are_not_learnt(tmp_path: Path) -> None:
    path = _save(tmp_path / "a.nii", 1, 7)

    checked = check_label(IMAGE, path, HERE, annotated=["spleen"], write_to=tmp_path / "out.nii.gz")

    assert (checked.values, checked.annotated) == ([7], ["spleen"])
    assert read_volume(tmp_path / "out.nii.gz").array[:2, 2, 1].tolist() == [0, 7]


def test_what_the_values_mean_is_told_for_those_who_use_other_indices(tmp_path: Path) -> None:
    path = _save(tmp_path / "a.nii", 1, 7)

    assert check_label(IMAGE, path, HERE).names == {1: "liver", 2: "left_kidney", 7: "spleen"}
    assert check_label(IMAGE, path, HERE, names={1: "spleen", 7: "liver"}).names == {1: "spleen", 7: "liver"}


def test_a_label_without_marks_is_empty_and_can_be_learnt(tmp_path: Path) -> None:
    checked = check_label(IMAGE, _save(tmp_path / "a.nii"), HERE)

    assert checked.empty
    assert checked.quarantine is None


@pytest.mark.parametrize(
    ("values", "dtype"),
    [([3], "uint8"), ([0.5], "float32"), ([-1], "int16"), ([70000], "int32"), ([np.nan], "float32")],
)
def test_impossible_values_go_to_quarantine(values: list[float], dtype: str, tmp_path: Path) -> None:
    path = _save(tmp_path / "a.nii", *values, dtype=dtype)

    checked = check_label(IMAGE, path, HERE, write_to=tmp_path / "out.nii")

    assert checked.quarantine is not None
    assert checked.warnings == [checked.quarantine]
    assert not (tmp_path / "out.nii").exists()


def test_whole_numbers_in_floats_are_fine(tmp_path: Path) -> None:
    assert check_label(IMAGE, _save(tmp_path / "a.nii", 1, dtype="float32"), HERE).values == [1]


def test_another_grid_goes_to_quarantine(tmp_path: Path) -> None:
    other = Geometry(SHAPE, np.eye(4))

    checked = check_label(other, _save(tmp_path / "a.nii", 1), HERE)

    assert checked.quarantine is not None
    assert "resample" in checked.quarantine


def test_a_slicer_segmentation_brings_its_names(tmp_path: Path) -> None:
    array = np.zeros(SHAPE, np.uint8)
    array[0] = 4
    header, _, voxels = to_nrrd(Volume(array, IMAGE.affine)).partition(b"\n\n")
    names = b"\nSegment0_Name:=Spleen\nSegment0_LabelValue:=4"
    (tmp_path / "a.nrrd").write_bytes(header + names + b"\n\n" + voxels)

    checked = check_label(IMAGE, tmp_path / "a.nrrd", HERE)

    assert checked.values == [7]
    assert checked.annotated == ["spleen"]


def test_unreadable_bytes_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.nii.gz").write_bytes(b"\x1f\x8bnonsense")

    with pytest.raises(InvalidRequestError):
        check_label(IMAGE, tmp_path / "a.nii.gz", HERE)


def test_while_no_experiment_learns_any_value_may_mean_something(tmp_path: Path) -> None:
    checked = check_label(IMAGE, _save(tmp_path / "a.nii", 3, 200), Names())

    assert (checked.values, checked.annotated, checked.quarantine) == ([3, 200], [], None)

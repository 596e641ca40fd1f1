"""An RTSTRUCT's contours become the voxels whose centres they hold."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom.uid import generate_uid

from configs.errors import InvalidRequestError, MismatchError
from tasks.images.geometry import Geometry
from tasks.labels.forms.read import names_in, read_label
from tests.dicom_series import SHAPE, asymmetric, make_rtstruct, make_series, oblique_affine

SERIES = make_series(asymmetric(), oblique_affine())
IMAGE = Geometry(SHAPE, oblique_affine(), SERIES[0].FrameOfReferenceUID)


def _square(low: float, high: float, plane: float, axis: int = 2) -> NDArray[np.float64]:
    """Return a square's corners in LPS mm, on a plane across an axis of the image's indices."""
    points = np.array([[low, low], [high, low], [high, high], [low, high]])
    indices = np.insert(points, axis, plane, axis=1)
    found: NDArray[np.float64] = indices @ IMAGE.affine[:3, :3].T + IMAGE.affine[:3, 3]
    return found


def _file(tmp_path: Path, contours: dict[str, list[NDArray[np.float64]]], **changed: str) -> Path:
    made = make_rtstruct(SERIES[0], contours)
    for name, value in changed.items():
        setattr(made.ReferencedFrameOfReferenceSequence[0], name, value)
    made.save_as(tmp_path / "label.dcm", enforce_file_format=True)
    return tmp_path / "label.dcm"


def test_structures_are_filled_plane_by_plane_with_their_holes(tmp_path: Path) -> None:
    ring = [_square(-0.4, 4.4, 2), _square(1.6, 3.4, 2), _square(0.6, 1.4, 3)]
    path = _file(tmp_path, {"liver": ring, "cyst": [_square(2.6, 3.4, 2)]})

    label = read_label(path, IMAGE)

    expected = np.zeros(SHAPE, np.uint8)
    expected[0:5, 0:5, 2] = 1
    expected[2:4, 2:4, 2] = 0
    expected[1, 1, 3] = 1
    expected[3, 3, 2] = 2
    np.testing.assert_array_equal(label.array, expected)
    assert label.names == names_in(path) == {1: "liver", 2: "cyst"}
    assert label.warnings == ()


def test_contours_across_another_axis_of_the_image_are_its_planes_too(tmp_path: Path) -> None:
    label = read_label(_file(tmp_path, {"liver": [_square(0.6, 2.4, 4, axis=0)]}), IMAGE)
    assert np.argwhere(label.array).tolist() == [[4, 1, 1], [4, 1, 2], [4, 2, 1], [4, 2, 2]]


def test_what_structures_share_is_the_later_ones_and_told(tmp_path: Path) -> None:
    label = read_label(_file(tmp_path, {"a": [_square(0.6, 2.4, 1)], "b": [_square(1.6, 3.4, 1)]}), IMAGE)
    assert [int((label.array == value).sum()) for value in (1, 2)] == [3, 4]
    assert "overlap in 1 voxels" in label.warnings[0]


@pytest.mark.parametrize(
    ("square", "changed", "why"),
    [
        (_square(0.6, 2.4, 9), {}, "outside the image"),
        (_square(20.0, 24.0, 1), {}, "outside the image"),
        (np.stack([_square(0, 3, 0)[0], _square(0, 3, 3)[1], _square(0, 3, 1)[2]]), {}, "across the planes"),
        (_square(0.6, 2.4, 1), {"FrameOfReferenceUID": generate_uid()}, "another frame of reference"),
    ],
)
def test_what_does_not_lie_on_the_image_is_said(
    tmp_path: Path, square: NDArray[np.float64], changed: dict[str, str], why: str
) -> None:
    with pytest.raises(MismatchError, match=why):
        read_label(_file(tmp_path, {"liver": [square]}, **changed), IMAGE)


def test_a_damaged_one_is_refused(tmp_path: Path) -> None:
    path = _file(tmp_path, {"liver": [_square(0.6, 2.4, 1)]})
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(InvalidRequestError):
        read_label(path, IMAGE)

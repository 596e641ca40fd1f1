"""Grids are compared by where their voxels lie."""

from itertools import permutations, product

import numpy as np
import pytest

from configs.errors import MismatchError
from tasks.images.geometry import Geometry, place
from tests.dicom_series import SHAPE, asymmetric, oblique_affine

IMAGE = Geometry(SHAPE, oblique_affine())


@pytest.mark.parametrize("axes", list(permutations(range(3))))
@pytest.mark.parametrize("flips", list(product([False, True], repeat=3)))
def test_every_order_and_direction_of_axes_is_put_right(axes: tuple[int, ...], flips: tuple[bool, ...]) -> None:
    array = asymmetric(low=0)
    stored = np.flip(array.transpose(axes), tuple(axis for axis in range(3) if flips[axis]))
    turned = np.eye(4)
    turned[:3, :3] = 0
    for axis, (source, flipped) in enumerate(zip(axes, flips, strict=True)):
        turned[source, axis] = -1 if flipped else 1
        turned[source, 3] = SHAPE[source] - 1 if flipped else 0
    grid = Geometry(stored.shape, oblique_affine() @ turned)

    np.testing.assert_array_equal(place(stored, grid, IMAGE), array)


def test_a_box_cut_out_lands_where_it_was() -> None:
    affine = oblique_affine()
    affine[:3, 3] = (oblique_affine() @ [2, 1, 3, 1])[:3]

    placed = place(np.ones((3, 2, 1), np.uint8), Geometry((3, 2, 1), affine), IMAGE)

    assert placed[2:5, 1:3, 3:4].all()
    assert placed.sum() == 6


def test_a_mark_outside_the_image_is_refused_and_an_empty_margin_is_not() -> None:
    affine = oblique_affine()
    affine[:3, 3] = (oblique_affine() @ [-1, 0, 0, 1])[:3]
    grid = Geometry((SHAPE[0] + 1, *SHAPE[1:]), affine)
    array = np.zeros(grid.shape, np.uint8)
    array[1] = 1
    assert place(array, grid, IMAGE)[0].all()

    array[0] = 1
    with pytest.raises(MismatchError, match="outside"):
        place(array, grid, IMAGE)


@pytest.mark.parametrize(
    "affine", [np.eye(4), oblique_affine((0.75, 1.25, 2.6)), oblique_affine() + np.eye(4)[[3, 3, 3, 3]] * 0.3]
)
def test_another_grid_is_refused(affine: np.ndarray) -> None:
    other = affine.copy()
    other[3] = (0, 0, 0, 1)

    with pytest.raises(MismatchError, match="does not lie on"):
        place(np.zeros(SHAPE, np.uint8), Geometry(SHAPE, other), IMAGE)


def test_rounding_in_a_header_is_no_difference() -> None:
    rounded = oblique_affine().astype(np.float32).astype(float)

    np.testing.assert_array_equal(place(asymmetric(), Geometry(SHAPE, rounded), IMAGE), asymmetric())

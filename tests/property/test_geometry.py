"""Voxels stay where they are in the patient, whatever the grid's direction, order of storage or part."""

from itertools import permutations
from random import Random

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from configs.errors import MismatchError
from tasks.images.dicom import volume_from
from tasks.images.geometry import Affine, Geometry, align, place
from tasks.images.volume import Volume, read_geometry, read_volume, write_nifti
from tasks.labels.forms.write import to_nrrd
from tests.dicom_series import make_series

Labels = NDArray[np.uint8]
FAR_MM = 1e-2
"""Headers of NIfTI are float32: half a metre from the origin that is 3e-5, and rotations add to it."""


@st.composite
def grids(draw: st.DrawFn, least: int = 1) -> Geometry:
    """A grid in any direction, of either hand, some distance from the origin."""
    shape = draw(st.tuples(*[st.integers(least, 6)] * 3))
    spacing = draw(st.tuples(*[st.floats(0.3, 5.0)] * 3))
    mirrored = draw(st.booleans())
    affine = np.eye(4)
    affine[:3, :3] = draw(rotations()) @ np.diag(spacing) @ np.diag([-1.0 if mirrored else 1.0, 1.0, 1.0])
    affine[:3, 3] = draw(st.tuples(*[st.floats(-500, 500)] * 3))
    return Geometry(shape, affine)


@st.composite
def rotations(draw: st.DrawFn) -> NDArray[np.float64]:
    """A rotation, from a unit quaternion; often one of the usual directions."""
    w, x, y, z = draw(st.tuples(*[st.floats(-1, 1) | st.sampled_from([0.0, 1.0])] * 4))
    length = float(np.sqrt(w * w + x * x + y * y + z * z))
    assume(length > 0.1)
    w, x, y, z = w / length, x / length, y / length, z / length
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


@st.composite
def stored_otherwise(draw: st.DrawFn) -> tuple[Geometry, Labels, Geometry, Labels]:
    """A labelled grid, and the same marks with the axes in another order and direction, or a box around them."""
    onto = draw(grids())
    array = np.zeros(onto.shape, dtype=np.uint8)
    marks = draw(st.lists(st.tuples(*[st.integers(0, size - 1) for size in onto.shape]), max_size=8, unique=True))
    for value, index in enumerate(marks, start=1):
        array[index] = value
    low, high = _box(draw, array)
    part = array[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
    axes = draw(st.sampled_from(list(permutations(range(3)))))
    turned, to_part = part.transpose(axes), np.zeros((4, 4))
    to_part[3, 3] = 1.0
    for mine, of_part in enumerate(axes):
        backward = draw(st.booleans())
        to_part[of_part, mine] = -1.0 if backward else 1.0
        to_part[of_part, 3] = low[of_part] + (part.shape[of_part] - 1 if backward else 0)
        turned = np.flip(turned, mine) if backward else turned
    i, j, k = turned.shape
    return onto, array, Geometry((i, j, k), onto.affine @ to_part), turned


def _box(draw: st.DrawFn, array: Labels) -> tuple[list[int], list[int]]:
    """Return a box that holds every mark: its first indices, and those behind its last."""
    marked = np.argwhere(array)
    first = marked.min(axis=0) if len(marked) else np.zeros(3, dtype=int)
    last = marked.max(axis=0) if len(marked) else first
    low = [draw(st.integers(0, int(each))) for each in first]
    high = [draw(st.integers(int(each) + 1, size)) for each, size in zip(last, array.shape, strict=True)]
    return low, high


@given(stored_otherwise())
@settings(max_examples=80)
def test_a_label_lies_on_its_image_however_its_axes_run(given: tuple[Geometry, Labels, Geometry, Labels]) -> None:
    onto, array, grid, stored = given
    np.testing.assert_array_equal(place(stored, grid, onto), array)


@given(stored_otherwise(), st.integers(0, 2), st.floats(0.6, 40.0))
@settings(max_examples=40)
def test_a_label_that_lies_beside_the_image_is_never_placed_on_other_voxels(
    given: tuple[Geometry, Labels, Geometry, Labels], axis: int, voxels: float
) -> None:
    onto, array, grid, stored = given
    assume(array.any())
    moved = grid.affine.copy()
    moved[:3, 3] += onto.affine[:3, axis] * voxels
    try:
        placed = place(stored, Geometry(grid.shape, moved, ""), onto)
    except MismatchError:
        return
    whole = round(voxels)
    assert abs(voxels - whole) < 0.5
    np.testing.assert_array_equal(placed, _shifted(array, axis, whole))


def _shifted(array: Labels, axis: int, by: int) -> Labels:
    shifted = np.zeros_like(array)
    into, out_of = [slice(None)] * 3, [slice(None)] * 3
    into[axis], out_of[axis] = slice(by, None), slice(None, max(array.shape[axis] - by, 0))
    shifted[tuple(into)] = array[tuple(out_of)]
    return shifted


@given(grids(), grids())
@settings(max_examples=40)
def test_a_placement_is_exact_or_refused(grid: Geometry, onto: Geometry) -> None:
    try:
        placement = align(grid, onto)
    except MismatchError:
        return
    corners = np.array(np.meshgrid(*([0, size - 1] for size in grid.shape))).reshape(3, 8)
    world = grid.affine[:3, :3] @ corners + grid.affine[:3, 3:]
    index = np.linalg.inv(onto.affine) @ np.vstack([world, np.ones(8)])
    np.testing.assert_allclose(index[:3].min(axis=1), placement.start, atol=0.5)


@given(grids())
@settings(max_examples=30)
def test_files_keep_every_voxel_at_its_place(tmp_path_factory: pytest.TempPathFactory, grid: Geometry) -> None:
    array = np.arange(np.prod(grid.shape), dtype=np.int16).reshape(grid.shape)
    folder = tmp_path_factory.mktemp("files")
    write_nifti(Volume(array, grid.affine), folder / "a.nii.gz")
    (folder / "a.nrrd").write_bytes(to_nrrd(Volume(array, grid.affine)))
    for path in (folder / "a.nii.gz", folder / "a.nrrd"):
        back = read_volume(path)
        np.testing.assert_array_equal(back.array, array)
        assert _apart_mm(back.affine, grid) < FAR_MM
        header = read_geometry(path)
        assert header.shape == grid.shape
        np.testing.assert_allclose(header.affine, back.affine)


@given(grids(least=2), st.randoms(use_true_random=False))
@settings(max_examples=25)
def test_slices_ascend_along_row_times_column_whatever_their_order_in_the_store(grid: Geometry, order: Random) -> None:
    right_handed = np.linalg.det(grid.affine[:3, :3]) > 0
    affine = grid.affine.copy()
    if not right_handed:  # a DICOM series has no other hand: its third axis is the cross product of the first two
        affine[:3, 2] *= -1
    array = np.arange(np.prod(grid.shape), dtype=np.int16).reshape(grid.shape)
    instances = make_series(array, affine)
    order.shuffle(instances)
    values, found = volume_from(instances)
    np.testing.assert_array_equal(values, array)
    assert _apart_mm(found, Geometry(grid.shape, affine)) < FAR_MM


def _apart_mm(affine: Affine, grid: Geometry) -> float:
    """Return how far a corner is from its place at most."""
    corners = np.array(np.meshgrid(*([0, size - 1] for size in grid.shape))).reshape(3, 8)
    apart = (affine - grid.affine) @ np.vstack([corners, np.ones(8)])
    return float(np.abs(apart[:3]).max())

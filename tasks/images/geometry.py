"""Where a grid of voxels lies in the patient.

One order for the whole system: index (i, j, k) = (column, row, slice); affines map indices to LPS millimetres. Slices
of a DICOM series ascend along the cross product of row and column direction; a file keeps its own order, which is the
one that its readers see.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from configs.errors import MismatchError

TOLERANCE_VOXELS = 0.1
"""Two grids are one if no voxel's centre is further from its partner than this; float32 headers differ by 1e-3."""

PLANE_TOLERANCE_VOXELS = 0.49
"""A grid of one plane belongs to the nearest slice: slices lie a little beside their regular places."""

RAS_FROM_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
"""Turns an LPS affine into a RAS one, and back."""

Affine = NDArray[np.float64]


@dataclass(frozen=True)
class Geometry:
    """A grid.

    Args:
        shape: Voxels along i, j and k.
        affine: 4 x 4, index (i, j, k, 1) → LPS mm of the voxel's centre.
        frame_of_reference: What its coordinates refer to, as DICOM says it; empty if it is not known.
    """

    shape: tuple[int, int, int]
    affine: Affine
    frame_of_reference: str = ""

    def describe(self) -> str:
        """Say size and spacing; says nothing of a patient."""
        spacing = " x ".join(f"{length:.3g}" for length in np.linalg.norm(self.affine[:3, :3], axis=0))
        return f"{' x '.join(map(str, self.shape))} voxels of {spacing} mm"


@dataclass(frozen=True)
class Placement:
    """How a grid's indices become another's by permuting, flipping and shifting axes only.

    Args:
        axes: For each axis of the other grid, the axis of this one that runs along it.
        flipped: For each axis of the other grid, whether this one runs against it.
        start: Index in the other grid of the first voxel, once permuted and flipped.
    """

    axes: tuple[int, int, int]
    flipped: tuple[bool, bool, bool]
    start: tuple[int, int, int]


def align(grid: Geometry, onto: Geometry) -> Placement:
    """Find how `grid`, or a box cut out of it along its axes, lies on the grid `onto`.

    Raises:
        MismatchError: If it does not within `TOLERANCE_VOXELS`, or `PLANE_TOLERANCE_VOXELS` across a single plane.
    """
    try:
        to_index = np.linalg.inv(onto.affine) @ grid.affine
    except np.linalg.LinAlgError:
        raise MismatchError("The image's axes lie in one plane: its header is damaged") from None
    steps = np.rint(to_index[:3, :3])
    signed_permutation = np.array_equal(np.abs(steps).sum(axis=0), np.ones(3)) and np.array_equal(
        np.abs(steps).sum(axis=1), np.ones(3)
    )
    origin = np.rint(to_index[:3, 3])
    last = np.array(grid.shape) - 1
    # Both maps are affine, so they are furthest apart at a corner: eight points speak for all voxels.
    corners = np.array(np.meshgrid(*([0, size] for size in last))).reshape(3, 8)
    exact, rounded = to_index[:3, :3] @ corners + to_index[:3, 3:], steps @ corners + origin[:, None]
    single = np.array(grid.shape)[np.abs(steps).argmax(axis=1)] == 1
    allowed = np.where(single, PLANE_TOLERANCE_VOXELS, TOLERANCE_VOXELS)[:, None]
    if not signed_permutation or not (np.abs(exact - rounded) <= allowed).all():
        msg = (
            f"The label's grid ({grid.describe()}) does not lie on the image's ({onto.describe()}): "
            "resample it on the image"
        )
        raise MismatchError(msg)
    i, j, k = (int(axis) for axis in np.abs(steps).argmax(axis=1))
    low = rounded.min(axis=1)
    return Placement(
        axes=(i, j, k),
        flipped=(bool(steps[0, i] < 0), bool(steps[1, j] < 0), bool(steps[2, k] < 0)),
        start=(int(low[0]), int(low[1]), int(low[2])),
    )


def turn(array: NDArray[Any], placement: Placement) -> NDArray[Any]:
    """Return a view of the array whose axes run as those of the grid it is placed on."""
    turned = array.transpose(placement.axes)
    return turned[tuple(slice(None, None, -1) if flipped else slice(None) for flipped in placement.flipped)]


def place(array: NDArray[Any], grid: Geometry, onto: Geometry) -> NDArray[Any]:
    """Return the label map on the grid `onto`: same voxels, no resampling; 0 where it says nothing.

    Args:
        array: Label map (i, j, k) on `grid`.
        grid: Its grid: that of `onto`, or a box of it, with axes in any order and direction.
        onto: The image's grid.

    Raises:
        MismatchError: If it does not fit, or a labelled voxel lies outside the image.
    """
    placement = align(grid, onto)
    turned = turn(array, placement)
    if placement.start == (0, 0, 0) and turned.shape == onto.shape:
        return turned
    result = np.zeros(onto.shape, dtype=array.dtype)
    starts = np.array(placement.start)
    low, high = np.maximum(starts, 0), np.minimum(starts + turned.shape, onto.shape)
    if (low < high).all():
        inner = turned[tuple(slice(a, b) for a, b in zip(low - starts, high - starts, strict=True))]
        result[tuple(slice(a, b) for a, b in zip(low, high, strict=True))] = inner
    # Said, not cut off: the author would find their label smaller than they drew it.
    if np.count_nonzero(result) != np.count_nonzero(array):
        raise MismatchError("The label marks voxels outside the image: save it on the image's grid")
    return result

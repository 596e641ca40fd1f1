"""Bring a label map back to an image's own grid, by the affines alone."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import ndimage

Labels = npt.NDArray[np.uint8]
Affine = npt.NDArray[np.float64]
# A voxel halfway between two others takes the lower one, however the affine was rounded.
_ROUNDING = 1e-4


class Grid(NamedTuple):
    """A voxel grid: its shape (i, j, k), and the 4 by 4 affine from voxel indices to RAS millimetres."""

    shape: tuple[int, ...]
    affine: Affine


def resample_labels(labels: Labels, affine: Affine, onto: Grid) -> Labels:
    """Return labels on another grid: for each voxel there, the nearest voxel's label here, else 0.

    Args:
        labels: Shape (i, j, k), any axis order and direction.
        affine: Its voxel indices to RAS millimetres, 4 by 4.
        onto: The grid wanted.
    """
    between = np.linalg.inv(affine) @ onto.affine
    linear, offset = between[:3, :3], between[:3, 3]
    axes = np.abs(linear).argmax(1)
    aligned = linear[np.arange(3), axes]
    rest = linear.copy()
    rest[np.arange(3), axes] = 0
    # Beyond a hundredth of a voxel at the far corner, the grids are oblique to each other.
    oblique = np.abs(rest) @ np.array(onto.shape[:3]) > 0.01  # noqa: PLR2004 (see above)
    if sorted(axes.tolist()) != [0, 1, 2] or bool(oblique.any()):
        return np.asarray(
            ndimage.affine_transform(labels, linear, offset, output_shape=onto.shape, order=0), dtype=np.uint8
        )
    result = labels
    for axis in range(3):
        count = onto.shape[axes[axis]]
        position = aligned[axis] * np.arange(count) + offset[axis]
        result = _take(result, np.floor(position + 0.5 - _ROUNDING).astype(np.int64), axis)
    return np.ascontiguousarray(result.transpose(np.argsort(axes)))


def _take(values: Labels, index: npt.NDArray[np.int64], axis: int) -> Labels:
    """Return values at these indices along an axis, 0 where an index lies outside."""
    inside = (index >= 0) & (index < values.shape[axis])
    taken = np.take(values, index.clip(0, values.shape[axis] - 1), axis)
    if not inside.all():
        taken[(slice(None),) * axis + (~inside,)] = 0
    return taken

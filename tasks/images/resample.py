"""A stack that is no regular grid → one that is: linear in the planes, where a tilt shifted them, and between them."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from infra.adapters.images.base import MOST_BYTES
from tasks.images.bounds import refuse_too_large
from tasks.images.geometry import Affine
from tasks.images.stack import SPACING_MM, Stack, lateral_mm


def on_regular_grid(stack: Stack, values: NDArray[Any], most_bytes: int = MOST_BYTES) -> tuple[NDArray[Any], Affine]:
    """Interpolate the planes' values onto equal steps along their normal.

    Args:
        stack: What the planes are.
        values: Their values, (slice, row, column).
        most_bytes: What the result may take in memory: positions can be as far apart as they say.

    Returns:
        Values of the same kind, whole ones rounded, (slice, row, column), with rows and columns added where tilted
        planes reach out; voxels that no plane reaches hold the lowest value. And the affine (i, j, k) → LPS mm.

    Raises:
        InvalidRequestError: If it would be too large.
    """
    slices = stack.slices
    first = slices[0]
    row, column = first.orientation
    between_rows, between_columns = first.spacing_mm
    heights = np.array([plane.height_mm for plane in slices]) - first.height_mm
    count = max(2, int(np.rint(heights[-1] / stack.step_mm)) + 1)
    wanted = np.linspace(0, heights[-1], count)
    lateral = lateral_mm(slices)
    # Rounded positions: a shift by a tenth of a millimetre would blur every plane and put nothing right.
    if np.abs(lateral).max() <= SPACING_MM:
        lateral = np.zeros_like(lateral)
    shifts = lateral / (between_columns, between_rows)  # in voxels, along i and j
    low, high = np.floor(shifts.min(axis=0)).astype(int), np.ceil(shifts.max(axis=0)).astype(int)
    fill = values.min()
    shape = (values.shape[1] + high[1] - low[1], values.shape[2] + high[0] - low[0])
    refuse_too_large(count * math.prod(map(int, shape)) * values.dtype.itemsize, most_bytes)
    whole = values.dtype.kind in "iu"
    result = np.empty((count, *shape), dtype=values.dtype)
    for index, height in enumerate(wanted):
        above = int(np.clip(np.searchsorted(heights, height), 1, len(slices) - 1))
        share = (height - heights[above - 1]) / (heights[above] - heights[above - 1])
        plane = np.zeros(shape, dtype=np.float32)
        for source, weight in ((above - 1, 1 - share), (above, share)):
            if weight > 0:
                plane += weight * _shifted(values[source], shifts[source] - low, shape, float(fill))
        # Rounded, since a cast cuts off: half of all values would lose nearly one.
        result[index] = np.rint(plane) if whole else plane
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1] = row * between_columns, column * between_rows
    affine[:3, 2] = first.normal * wanted[1]
    affine[:3, 3] = first.position + low[0] * affine[:3, 0] + low[1] * affine[:3, 1]
    return result, affine


def _shifted(plane: NDArray[Any], shift: NDArray[np.float64], shape: tuple[int, int], fill: float) -> NDArray[Any]:
    """Return the plane (row, column) on a canvas, moved by `shift` voxels along column and row index."""
    canvas = np.full(shape, fill, dtype=np.float32)
    canvas[: plane.shape[0], : plane.shape[1]] = plane
    if not shift.any():
        return canvas
    from scipy import ndimage  # noqa: PLC0415 - a twelfth of a process's start; only tilted stacks need it

    moved = ndimage.shift(canvas, (shift[1], shift[0]), order=1, mode="constant", cval=fill)
    return np.asarray(moved)

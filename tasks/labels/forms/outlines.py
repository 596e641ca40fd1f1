"""A label map of a picture → the outlines of its regions, as viewers of large pictures draw them."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from configs.errors import InvalidRequestError

MOST = 10_000
"""A network that learnt nothing answers noise, which has a region in every other pixel."""
_TOLERANCE = 0.5


class Outline(NamedTuple):
    """One region's outer border; what lies within it belongs to it.

    Args:
        value: Of the label map.
        points: N x 2: column and row, in pixels from the map's corner, which lies half a pixel before its first centre.
    """

    value: int
    points: NDArray[np.float64]


def outlines(label: NDArray[Any], least_pixels: int) -> list[Outline]:
    """Return the outlines of regions whose pixels touch by their sides.

    Args:
        label: Axes (column, row).
        least_pixels: Smaller regions are left out.

    Raises:
        InvalidRequestError: If there are too many.
    """
    from skimage import measure as untyped  # noqa: PLC0415 - megabytes in every process that never draws one

    measure: Any = untyped
    numbered = measure.label(label, background=0, connectivity=1)
    small = np.bincount(numbered.ravel()) < least_pixels
    numbered[small[numbered]] = 0
    found = measure.regionprops(numbered)
    if len(found) > MOST:
        raise InvalidRequestError(
            f"The answer has {len(found)} regions, and at most {MOST} are outlined: ask with a larger min_poly_area"
        )
    made = []
    for region in found:
        border = max(measure.find_contours(np.pad(region.image, 1), 0.5), key=_extent)  # the others are of holes
        points = measure.approximate_polygon(border, _TOLERANCE) + region.bbox[:2] - 0.5
        value = label[region.slice].max(where=region.image, initial=0)
        made.append(Outline(int(value), points))
    return made


def _extent(border: NDArray[np.float64]) -> float:
    return float(np.ptp(border, axis=0).prod())

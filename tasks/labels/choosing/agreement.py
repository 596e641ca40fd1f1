"""How far two people's masks of one image agree: Dice, and the mean distance of their surfaces."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from configs.names import plain
from tasks.images.geometry import Geometry
from tasks.labels.forms.label_map import LabelMap, marked_values


class Agreement(BaseModel):
    """Of one name."""

    model_config = ConfigDict(frozen=True)

    dice: float = Field(description="2 |A and B| / (|A| + |B|): 1 = the same voxels, 0 = none in common (Dice 1945).")
    surface_mm: float | None = Field(
        description="Mean over both surfaces' voxels of the distance to the other surface; None if one marks nothing."
    )


def agreement(
    first: LabelMap, second: LabelMap, image: Geometry, said: tuple[Mapping[str, str], Mapping[str, str]]
) -> dict[str, Agreement]:
    """Return how far two masks agree, by each name that at least one of them marks.

    Args:
        first: A person's, on the image's grid.
        second: Another's.
        image: The grid, whose spacing makes distances millimetres.
        said: What either's values mean, by their savers' word; else the file's, else their numbers.
    """
    one, other = (_by_name(label, names) for label, names in zip((first, second), said, strict=True))
    spacing_mm = np.linalg.norm(image.affine[:3, :3], axis=0)
    nothing = np.zeros(image.shape, dtype=bool)
    return {
        name: _agreement(one.get(name, nothing), other.get(name, nothing), spacing_mm)
        for name in sorted(one.keys() | other.keys())
    }


def _by_name(label: LabelMap, said: Mapping[str, str]) -> dict[str, NDArray[np.bool_]]:
    found: dict[str, NDArray[np.bool_]] = {}
    for value in marked_values(label.array):
        name = plain(said.get(str(value)) or label.names.get(value) or str(value))
        marked = label.array == value
        found[name] = found[name] | marked if name in found else marked
    return found


def _agreement(one: NDArray[np.bool_], other: NDArray[np.bool_], spacing_mm: NDArray[np.float64]) -> Agreement:
    both, sizes = np.count_nonzero(one & other), np.count_nonzero(one) + np.count_nonzero(other)
    cut = _box(one | other)
    distance = _surface_mm(one[cut], other[cut], spacing_mm) if one.any() and other.any() else None
    return Agreement(dice=2 * both / sizes, surface_mm=distance)


def _box(marked: NDArray[np.bool_]) -> tuple[slice, ...]:
    """Return the box that holds all marks: what lies beside them is no part of any surface."""
    found = []
    for axis in range(marked.ndim):
        others = tuple(other for other in range(marked.ndim) if other != axis)
        there = np.flatnonzero(marked.any(axis=others))
        found.append(slice(int(there[0]), int(there[-1]) + 1))
    return tuple(found)


def _surface_mm(one: Any, other: Any, spacing_mm: NDArray[np.float64]) -> float:
    from scipy import ndimage  # noqa: PLC0415 - only who asks for an agreement needs it

    surfaces = [mask & ~ndimage.binary_erosion(mask) for mask in (one, other)]
    to_other = [ndimage.distance_transform_edt(~surface, sampling=spacing_mm) for surface in surfaces]
    distances = np.concatenate([to_other[1][surfaces[0]], to_other[0][surfaces[1]]])
    return float(distances.mean())

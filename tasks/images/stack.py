"""Planes → one stack: ordered, checked, and refused with the names of the slices that make it no regular grid."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from configs.errors import NoVolumeError
from configs.specs.dataset import OnGap
from tasks.images.geometry import Affine
from tasks.images.slices import Slice

SPACING_SHARE, SPACING_MM = 0.01, 0.1
"""Gaps between slices may differ by this share or this length, whichever is more: scanners round positions."""
TILT = 0.01
"""Slices may drift off the normal by this share of their distance; more is a tilted gantry."""
IRREGULAR, FOUR_D, SEVERAL, SINGLE = "irregular", "4-D", "several stacks", "single slice"
# Scanners write direction cosines with six digits, rounded anew in every slice.
_SAME_DIRECTION = 1e-3
# Below any real distance of slices, above what rounding does to a position of a metre.
_SAME_PLACE_MM = 0.05
_ROUNDED_MM = 0.2  # what rounding three coordinates to 0.1 mm can move a slice by
_NAMED = 4
_WAYS_OUT = "store the series again as it should be, or give the data set on_gap: resample"


@dataclass(frozen=True)
class Stack:
    """Slices in ascending order.

    Args:
        slices: At every place one.
        step_mm: The usual distance between neighbours, along the normal.
        faults: What makes it no regular grid, in words; empty if it is one.
    """

    slices: tuple[Slice, ...]
    step_mm: float
    faults: tuple[str, ...]


def stack_of(planes: Sequence[Slice], on_gap: OnGap = "refuse") -> Stack:
    """Order the planes along the cross product of row and column direction, and check that they make one volume.

    Raises:
        NoVolumeError: If they are one plane, several volumes or planes of other directions; with `refuse` also if a
            slice is missing or doubled, or the gantry was tilted. It names the slices.
    """
    first = planes[0]
    if len(planes) == 1:
        raise NoVolumeError(SINGLE, "it has one plane; only volumes can be annotated")
    for plane in planes:
        same = (plane.instance.Rows, plane.instance.Columns) == (first.instance.Rows, first.instance.Columns)
        same = same and np.allclose(plane.spacing_mm, first.spacing_mm, rtol=_SAME_DIRECTION)
        if not same or np.abs(plane.orientation - first.orientation).max() > _SAME_DIRECTION:
            why = f"slices {first.name} and {plane.name} differ in size, spacing or direction; split the series"
            raise NoVolumeError(SEVERAL, why)
    places = _places(planes)
    _refuse_several_volumes(places)
    slices = tuple(place[0] for place in places)
    if len(slices) == 1:
        raise NoVolumeError(FOUR_D, f"it has {len(planes)} images of one plane; only volumes can be annotated")
    gaps = np.diff([plane.height_mm for plane in slices])
    # The lower middle and no mean: one missing slice must not move what is called usual.
    usual = float(np.sort(gaps)[(len(gaps) - 1) // 2])
    faults = (*_doubled(places), *_gaps(slices, gaps, usual), *_drift(slices))
    if faults and on_gap == "refuse":
        raise NoVolumeError(IRREGULAR, f"{'; '.join(faults)}: {_WAYS_OUT}")
    return Stack(slices, usual, faults)


def stack_affine(slices: Sequence[Slice]) -> Affine:
    """Return the measured 4 x 4 affine (i, j, k) → LPS mm of a regular stack (DICOM PS3.3, C.7.6.2.1.1)."""
    first, last = slices[0], slices[-1]
    row, column = first.orientation
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1] = row * first.spacing_mm[1], column * first.spacing_mm[0]
    affine[:3, 2], affine[:3, 3] = (last.position - first.position) / (len(slices) - 1), first.position
    return affine


def lateral_mm(slices: Sequence[Slice]) -> NDArray[np.float64]:
    """Return how far each slice lies off the normal through the first one: (slices, 2), along its row and column."""
    offsets = np.array([plane.position - slices[0].position for plane in slices])
    return np.asarray(offsets @ slices[0].orientation.T)


def _places(planes: Sequence[Slice]) -> list[list[Slice]]:
    """Group planes at one height, ascending; of one place the first in the series' order comes first."""
    places: list[list[Slice]] = []
    for plane in sorted(planes, key=lambda plane: plane.height_mm):
        if places and plane.height_mm - places[-1][0].height_mm < _SAME_PLACE_MM:
            places[-1].append(plane)
        else:
            places.append([plane])
    # Sorting by height is stable only for equal heights, and these may differ by hundredths.
    order = {id(plane): number for number, plane in enumerate(planes)}
    return [sorted(place, key=lambda plane: order[id(plane)]) for place in places]


def _refuse_several_volumes(places: Sequence[Sequence[Slice]]) -> None:
    most = max(len(place) for place in places)
    if most == 1:
        return
    times = {plane.time for place in places for plane in place}
    doubled = sum(len(place) > 1 for place in places)
    # A few doubled slices are a fault of a store; half of them, or several times, are a second volume.
    if len(times) > 1 or 2 * doubled > len(places):
        raise NoVolumeError(FOUR_D, f"it holds {most} volumes at the same {len(places)} positions; split the series")


def _doubled(places: Sequence[Sequence[Slice]]) -> list[str]:
    doubled = [" and ".join(plane.name for plane in place) for place in places if len(place) > 1]
    return [f"slices {_several(doubled)} lie at one place"] if doubled else []


def _gaps(slices: Sequence[Slice], gaps: NDArray[np.float64], usual: float) -> list[str]:
    allowed = max(SPACING_MM, SPACING_SHARE * usual)
    wrong = [
        f"{below.name} and {above.name} ({gap:.2f} mm)"
        for (below, above), gap in zip(pairwise(slices), gaps, strict=True)
        if abs(gap - usual) > allowed
    ]
    if wrong:
        return [f"gaps other than the usual {usual:.2f} mm between slices {_several(wrong)}"]
    # Gaps that are each within bounds may add up: the last slice of many would lie a slice away from its place.
    regular = np.linspace(0, float(gaps.sum()), len(slices))
    off = np.abs(np.concatenate([[0.0], np.cumsum(gaps)]) - regular)
    worst = int(off.argmax())
    if off[worst] > max(SPACING_MM, usual / 4):
        return [f"slice {slices[worst].name} lies {off[worst]:.2f} mm away from its place on a regular grid"]
    return []


def _drift(slices: Sequence[Slice]) -> list[str]:
    heights = np.array([plane.height_mm for plane in slices]) - slices[0].height_mm
    lateral = lateral_mm(slices)
    drift = lateral[-1] / heights[-1]
    # Both: over a short stack, rounded positions alone make an angle of this size.
    if np.linalg.norm(drift) > TILT and np.linalg.norm(lateral[-1]) > _ROUNDED_MM:
        angle = float(np.degrees(np.arctan(np.linalg.norm(drift))))
        first, last = slices[0].name, slices[-1].name
        return [f"the gantry was tilted by {angle:.1f} degrees: slices {first} to {last} are not along their normal"]
    off = np.linalg.norm(lateral - heights[:, None] * drift, axis=1)
    beside = [f"{plane.name} ({far:.2f} mm)" for plane, far in zip(slices, off, strict=True) if far > _ROUNDED_MM]
    return [f"slices {_several(beside)} lie beside the stack's axis"] if beside else []


def _several(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more

"""The instances of a DICOM series → one volume. Refuses what is no regular grid and names what is wrong."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError

from configs.errors import InvalidRequestError
from tasks.images.geometry import Affine

SPACING_SHARE, SPACING_MM = 0.01, 0.1
"""Gaps between slices may differ by this share or this length, whichever is more: scanners round positions."""
_SAME_DIRECTION = 1e-3


@dataclass(frozen=True)
class Slice:
    """One plane: an instance, or a frame of a multi-frame one.

    Args:
        number: Its InstanceNumber or frame number, for messages.
        position: LPS mm of its first voxel's centre.
        orientation: Unit vectors of the row and the column direction, (2, 3).
        spacing_mm: Distance between rows, and between columns.
        instance: Where its pixels are.
        frame: Which of the instance's frames, from 0.
        slope: Multiplies stored values.
        intercept: Is added to them.
    """

    number: int
    position: NDArray[np.float64]
    orientation: NDArray[np.float64]
    spacing_mm: tuple[float, float]
    instance: Dataset
    frame: int
    slope: float
    intercept: float

    @property
    def height_mm(self) -> float:
        """Position along the cross product of row and column direction."""
        return float(self.position @ np.cross(*self.orientation))


def read_series(folder: Path) -> tuple[NDArray[Any], Affine]:
    """Read all `.dcm` files of a folder as one volume.

    Returns:
        Values after rescaling, axes (i, j, k) = (column, row, slice), slices ascending along the cross product of row
        and column direction; integers where slope and intercept are, else float32. And the 4 x 4 affine to LPS mm.

    Raises:
        InvalidRequestError: If a slice is missing, doubled, of another shape or direction, or cannot be decoded.
    """
    slices = ordered_slices(read_instances(folder))
    affine = series_affine(slices)
    return _pixels(slices), affine


def read_instances(folder: Path, *, pixels: bool = True) -> list[Dataset]:
    """Read the folder's instances, in the files' order.

    Raises:
        InvalidRequestError: If there is none, or one is no DICOM.
    """
    try:
        instances: list[Dataset] = [
            pydicom.dcmread(path, stop_before_pixels=not pixels) for path in sorted(folder.glob("*.dcm"))
        ]
    except (InvalidDicomError, EOFError, OSError):
        raise InvalidRequestError("The series holds a file that is no DICOM: store the series again") from None
    if not instances:
        raise InvalidRequestError("The series is empty: store the series again")
    return instances


def ordered_slices(instances: Sequence[Dataset]) -> list[Slice]:
    """Return the planes, ascending along the cross product of row and column direction.

    Raises:
        InvalidRequestError: If they do not make one regular stack; names the slices.
    """
    try:
        slices = [plane for instance in instances for plane in _planes(instance)]
    except (AttributeError, KeyError, IndexError, TypeError, ValueError):
        msg = "The series has an instance without position, orientation or spacing: only volumes can be annotated"
        raise InvalidRequestError(msg) from None
    first = slices[0]
    for plane in slices:
        same = (plane.instance.Rows, plane.instance.Columns) == (first.instance.Rows, first.instance.Columns)
        same = same and np.allclose(plane.spacing_mm, first.spacing_mm, rtol=_SAME_DIRECTION)
        if not same or np.abs(plane.orientation - first.orientation).max() > _SAME_DIRECTION:
            msg = f"Slices {first.number} and {plane.number} differ in size, spacing or direction: split the series"
            raise InvalidRequestError(msg)
    slices.sort(key=lambda plane: plane.height_mm)
    _check_gaps(slices)
    return slices


def series_affine(slices: Sequence[Slice]) -> Affine:
    """Return the 4 x 4 affine (i, j, k) → LPS mm of ordered slices (DICOM PS3.3, C.7.6.2.1.1).

    The step between slices is measured, so that a tilted gantry's shear is kept.

    Raises:
        InvalidRequestError: If the slices' positions do not lie on a line.
    """
    first, last = slices[0], slices[-1]
    row, column = first.orientation
    if len(slices) > 1:
        step = (last.position - first.position) / (len(slices) - 1)
    else:
        thickness = first.instance.get("SpacingBetweenSlices") or first.instance.get("SliceThickness") or 1.0
        step = np.cross(row, column) * float(thickness)
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1] = row * first.spacing_mm[1], column * first.spacing_mm[0]
    affine[:3, 2], affine[:3, 3] = step, first.position
    for index, plane in enumerate(slices):
        off = np.linalg.norm(plane.position - first.position - index * step)
        if off > max(SPACING_MM, SPACING_SHARE * float(np.linalg.norm(step))) * max(1, len(slices) // 10):
            raise InvalidRequestError(f"Slice {plane.number} lies {off:.2f} mm off the stack's axis: split the series")
    return affine


def _check_gaps(slices: Sequence[Slice]) -> None:
    gaps = np.diff([plane.height_mm for plane in slices])
    usual = float(np.sort(gaps)[(len(gaps) - 1) // 2]) if len(gaps) else 1.0
    allowed = max(SPACING_MM, SPACING_SHARE * abs(usual))
    for (below, above), gap in zip(pairwise(slices), gaps, strict=True):
        pair = f"slices {below.number} and {above.number}"
        if gap < SPACING_MM / 10 or (gap < allowed and usual > allowed):
            msg = f"The series has {pair} at one place: it is doubled, or holds more than one volume; split it"
            raise InvalidRequestError(msg)
        if abs(gap - usual) > allowed:
            msg = f"Between {pair} are {gap:.2f} mm where {usual:.2f} mm are usual: a slice is missing; store it again"
            raise InvalidRequestError(msg)


def _planes(instance: Dataset) -> Iterator[Slice]:
    if "PerFrameFunctionalGroupsSequence" not in instance:
        yield _plane(int(instance.get("InstanceNumber", 0) or 0), 0, instance, instance, instance, instance, instance)
        return
    shared = instance.SharedFunctionalGroupsSequence[0]
    for index, own in enumerate(instance.PerFrameFunctionalGroupsSequence):

        def group(name: str, own: Dataset = own) -> Dataset:
            found: Dataset = own[name][0] if name in own else shared[name][0]
            return found

        has_rescale = "PixelValueTransformationSequence" in own or "PixelValueTransformationSequence" in shared
        yield _plane(
            index + 1,
            index,
            instance,
            group("PlanePositionSequence"),
            group("PlaneOrientationSequence"),
            group("PixelMeasuresSequence"),
            group("PixelValueTransformationSequence") if has_rescale else Dataset(),
        )


def _plane(
    number: int,
    frame: int,
    instance: Dataset,
    position: Dataset,
    orientation: Dataset,
    measures: Dataset,
    rescale: Dataset,
) -> Slice:
    between_rows, between_columns = (float(value) for value in measures.PixelSpacing)
    return Slice(
        number=number,
        position=np.array([float(value) for value in position.ImagePositionPatient]),
        orientation=np.array([float(value) for value in orientation.ImageOrientationPatient]).reshape(2, 3),
        spacing_mm=(between_rows, between_columns),
        instance=instance,
        frame=frame,
        slope=float(rescale.get("RescaleSlope", 1) or 1),
        intercept=float(rescale.get("RescaleIntercept", 0) or 0),
    )


def _pixels(slices: Sequence[Slice]) -> NDArray[Any]:
    """Return rescaled values (i, j, k), laid out so that writing NIfTI copies nothing."""
    first = slices[0].instance
    if first.get("SamplesPerPixel", 1) != 1:
        raise InvalidRequestError("The series is in colour: only series with one value per pixel can be annotated")
    whole = all(plane.slope == 1 and plane.intercept.is_integer() for plane in slices)
    stack = np.empty((len(slices), first.Rows, first.Columns), dtype=np.int32 if whole else np.float32)
    for index, plane in enumerate(slices):
        try:
            pixels = plane.instance.pixel_array
        except (AttributeError, KeyError, NotImplementedError, RuntimeError, ValueError) as error:
            name = plane.instance.file_meta.TransferSyntaxUID.name
            msg = f"Slice {plane.number} ({name}) cannot be decoded ({type(error).__name__}): convert the series"
            raise InvalidRequestError(msg) from None
        values = pixels[plane.frame] if pixels.ndim == stack.ndim else pixels
        stack[index] = values if whole else values * np.float32(plane.slope)
        stack[index] += stack.dtype.type(plane.intercept)
    bounds = np.iinfo(np.int16)
    if whole and stack.min() >= bounds.min and stack.max() <= bounds.max:
        stack = stack.astype(np.int16)
    return stack.T

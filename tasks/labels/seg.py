"""DICOM SEG → label map on the image's grid, frame by frame.

Each frame is placed by its own position, so gaps, omitted empty frames and any order are right. BINARY and LABELMAP
are read; FRACTIONAL has no voxel-exact meaning and is refused.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError

from configs.errors import InvalidRequestError, MismatchError
from tasks.images.geometry import Geometry, align, turn
from tasks.labels.label_map import LabelMap

_UNREADABLE = "The file is no DICOM SEG that can be read: save the segmentation again"
_DAMAGE = (
    InvalidDicomError,
    AttributeError,
    KeyError,
    IndexError,
    TypeError,
    ValueError,
    EOFError,
    OSError,
    RuntimeError,
)


@dataclass(frozen=True)
class Frame:
    """One plane of a SEG. `segment` is None in a LABELMAP, whose pixels hold the segments' numbers."""

    pixels: NDArray[Any]
    grid: Geometry
    segment: int | None


def read_seg(path: Path, image: Geometry) -> LabelMap:
    """Read a SEG onto the image's grid; values are segment numbers. Where segments overlap the later one counts.

    Raises:
        InvalidRequestError: If it is no SEG that can be read.
        MismatchError: If it is fractional, lies on another grid, or marks voxels outside the image.
    """
    try:
        seg = pydicom.dcmread(path)
        kind = str(seg.SegmentationType)
        names = {int(part.SegmentNumber): str(part.SegmentLabel) for part in seg.SegmentSequence}
        automatic = {str(part.get("SegmentAlgorithmType", "")) for part in seg.SegmentSequence} == {"AUTOMATIC"}
        if kind not in {"BINARY", "LABELMAP"}:
            raise MismatchError(f"The SEG is {kind}: save it as BINARY or LABELMAP")
        _check_size(seg, image, len(names))
        _check_frame_of_reference(seg, image)
        frames = list(_frames(seg, image))
    except _DAMAGE:
        raise InvalidRequestError(_UNREADABLE) from None
    highest = max([*names, *(int(frame.pixels.max()) for frame in frames if frame.segment is None)], default=0)
    result = np.zeros(image.shape, dtype=np.uint8 if highest < 2**8 else np.uint16)
    overlap = 0
    for frame in frames:
        overlap += _paste(frame, image, result)
    warnings = (f"Segments overlap in {overlap} voxels: there the later segment counts",) if overlap else ()
    return LabelMap(
        result, names={key: name for key, name in names.items() if key}, automatic=automatic, warnings=warnings
    )


def _check_size(seg: Dataset, image: Geometry, segments: int) -> None:
    """Refuse, before anything is unpacked, a SEG that has more pixels than the image has voxels for its segments."""
    pixels = int(seg.Rows) * int(seg.Columns) * int(seg.NumberOfFrames)
    if pixels > int(np.prod(image.shape)) * max(segments, 1):
        msg = f"The SEG has {pixels} pixels for an image of {image.describe()}: save it on the image's grid"
        raise MismatchError(msg)


def _check_frame_of_reference(seg: Dataset, image: Geometry) -> None:
    """Refuse a SEG whose millimetres are counted from elsewhere: its numbers may fit the image by chance."""
    own = str(seg.get("FrameOfReferenceUID", "") or "")
    if own and image.frame_of_reference and own != image.frame_of_reference:
        msg = "The SEG lies in another frame of reference than its image: segment the image itself, or register it"
        raise MismatchError(msg)


def _frames(seg: Dataset, image: Geometry) -> Iterator[Frame]:
    pixels = seg.pixel_array.reshape(int(seg.NumberOfFrames), int(seg.Rows), int(seg.Columns))
    shared = seg.SharedFunctionalGroupsSequence[0]
    for plane, own in zip(pixels, seg.PerFrameFunctionalGroupsSequence, strict=True):
        segment = None
        if seg.SegmentationType == "BINARY":
            where = own if "SegmentIdentificationSequence" in own else shared
            segment = int(where.SegmentIdentificationSequence[0].ReferencedSegmentNumber)
        position = _group("PlanePositionSequence", own, shared).ImagePositionPatient
        orientation = _group("PlaneOrientationSequence", own, shared).ImageOrientationPatient
        spacing = _group("PixelMeasuresSequence", own, shared).PixelSpacing
        affine = _plane_affine(_floats(position), _floats(orientation).reshape(2, 3), _floats(spacing), image)
        grid = Geometry((int(seg.Columns), int(seg.Rows), 1), affine)
        yield Frame(pixels=plane.T[:, :, None], grid=grid, segment=segment)


def _group(name: str, own: Dataset, shared: Dataset) -> Dataset:
    found: Dataset = own[name][0] if name in own else shared[name][0]
    return found


def _floats(values: Any) -> NDArray[np.float64]:
    return np.array([float(value) for value in values])


def _plane_affine(
    position: NDArray[np.float64],
    orientation: NDArray[np.float64],
    spacing_mm: NDArray[np.float64],
    image: Geometry,
) -> NDArray[np.float64]:
    """Return the affine of one plane (i, j, 0) → LPS mm; its third axis is the image's that crosses the plane."""
    row, column = orientation
    axes = image.affine[:3, :3]
    crossing = np.abs(np.cross(row, column) @ (axes / np.linalg.norm(axes, axis=0))).argmax()
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1] = row * spacing_mm[1], column * spacing_mm[0]
    affine[:3, 2], affine[:3, 3] = axes[:, crossing], position
    return affine


def _paste(frame: Frame, image: Geometry, result: NDArray[Any]) -> int:
    """Write the frame's voxels into `result`; return how many held another segment."""
    placement = align(frame.grid, image)
    pixels = turn(frame.pixels, placement)
    marked = pixels != 0
    low = np.array(placement.start)
    if (low < 0).any() or (low + pixels.shape > image.shape).any():
        if marked.any():
            raise MismatchError("The SEG marks voxels outside the image: save it on the image's grid")
        return 0
    target = result[
        tuple(slice(start, start + size) for start, size in zip(placement.start, pixels.shape, strict=True))
    ]
    overlap = int(np.count_nonzero(target[marked]))
    target[marked] = pixels[marked] if frame.segment is None else frame.segment
    return overlap


def segment_names(path: Path) -> Mapping[int, str]:
    """Return a SEG's segment labels by number, without reading pixels.

    Raises:
        InvalidRequestError: If it is no SEG that can be read.
    """
    try:
        seg = pydicom.dcmread(path, stop_before_pixels=True)
        return {int(part.SegmentNumber): str(part.SegmentLabel) for part in seg.SegmentSequence}
    except _DAMAGE:
        raise InvalidRequestError(_UNREADABLE) from None

"""DICOM SEG → label map on the image's grid, frame by frame.

Each frame is placed by its own position, so gaps, omitted empty frames and any order are right. BINARY and LABELMAP
are read; FRACTIONAL has no voxel-exact meaning and is refused.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.pixels.utils import iter_pixels

from configs.errors import MismatchError
from infra.adapters.images.part10 import read_dicom, readable
from tasks.images.encapsulated import check_frames
from tasks.images.geometry import Geometry, align, turn
from tasks.images.slices import functional_group
from tasks.labels.forms.label_map import LabelMap

_BYTE = 8
_WIDTHS = (1, 8, 16)
_UNREADABLE = "The file is no DICOM SEG that can be read: save the segmentation again"


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
    with readable(_UNREADABLE):
        seg = read_dicom(path)
        kind = str(seg.SegmentationType)
        names = {int(part.SegmentNumber): str(part.SegmentLabel) for part in seg.SegmentSequence}
        automatic = {str(part.get("SegmentAlgorithmType", "")) for part in seg.SegmentSequence} == {"AUTOMATIC"}
        if kind not in {"BINARY", "LABELMAP"}:
            raise MismatchError(f"The SEG is {kind}: save it as BINARY or LABELMAP")
        _check_size(seg, image, len(names))
        _check_frame_of_reference(seg, image)
        wide = seg.BitsAllocated > _BYTE or max(names, default=0) >= 2**_BYTE
        result = np.zeros(image.shape, dtype=np.uint16 if wide else np.uint8)
        overlap = sum(_paste(frame, image, result) for frame in _frames(seg, image))
    warnings = (f"Segments overlap in {overlap} voxels: there the later segment counts",) if overlap else ()
    return LabelMap(
        result, names={key: name for key, name in names.items() if key}, automatic=automatic, warnings=warnings
    )


def _check_size(seg: Dataset, image: Geometry, segments: int) -> None:
    """Refuse, before anything is unpacked, a SEG that has more pixels than the image has voxels for its segments."""
    rows, columns, frames = int(seg.Rows), int(seg.Columns), int(seg.NumberOfFrames)
    if min(rows, columns, frames) < 1 or frames != len(seg.PerFrameFunctionalGroupsSequence):
        raise ValueError("a SEG without pixels, or whose frames are not described")
    if seg.BitsAllocated not in _WIDTHS:
        raise ValueError("a SEG of other values than segments' numbers")
    pixels = rows * columns * frames
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
    shared = seg.SharedFunctionalGroupsSequence[0]
    for plane, own in zip(_planes(seg), seg.PerFrameFunctionalGroupsSequence, strict=True):
        segment = None
        if seg.SegmentationType == "BINARY":
            where = own if "SegmentIdentificationSequence" in own else shared
            segment = int(where.SegmentIdentificationSequence[0].ReferencedSegmentNumber)
        position = functional_group("PlanePositionSequence", own, shared).ImagePositionPatient
        orientation = functional_group("PlaneOrientationSequence", own, shared).ImageOrientationPatient
        spacing = functional_group("PixelMeasuresSequence", own, shared).PixelSpacing
        affine = _plane_affine(_floats(position), _floats(orientation).reshape(2, 3), _floats(spacing), image)
        grid = Geometry((int(seg.Columns), int(seg.Rows), 1), affine)
        yield Frame(pixels=plane.T[:, :, None], grid=grid, segment=segment)


def _planes(seg: Dataset) -> Iterator[NDArray[Any]]:
    """Yield the frames (row, column) one by one: together they may be many times the image."""
    rows, columns, frames = int(seg.Rows), int(seg.Columns), int(seg.NumberOfFrames)
    if seg.BitsAllocated != 1 or seg.file_meta.TransferSyntaxUID.is_encapsulated:
        check_frames(seg, frames)
        for plane in iter_pixels(seg):
            yield plane.reshape(rows, columns)
        return
    # Frames of bits follow each other without a gap: one may begin in the middle of a byte.
    stored, size = np.frombuffer(seg.PixelData, dtype=np.uint8), rows * columns
    if 8 * stored.size < frames * size:
        raise ValueError("a SEG that ends before its last frame")
    for start in range(0, frames * size, size):
        bits = np.unpackbits(stored[start // 8 : -(-(start + size) // 8)], bitorder="little")
        yield bits[start % 8 : start % 8 + size].reshape(rows, columns)


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
    with readable(_UNREADABLE):
        seg = read_dicom(path, pixels=False)
        return {int(part.SegmentNumber): str(part.SegmentLabel) for part in seg.SegmentSequence}

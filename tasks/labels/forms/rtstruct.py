"""DICOM RTSTRUCT → label map on the image's grid: each structure's contours, plane by plane.

A voxel is marked if its centre lies inside the contours of its plane. What lies in two contours of one structure lies
in neither (DICOM PS3.3 C.8.8.6.3: holes are drawn as inner contours).
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from configs.errors import MismatchError
from infra.adapters.images.part10 import read_dicom, readable
from tasks.images.geometry import Geometry
from tasks.labels.forms.label_map import LabelMap

MODALITY = "RTSTRUCT"
_UNREADABLE = "The file is no DICOM RTSTRUCT that can be read: store it again"
_CLOSED = frozenset({"CLOSED_PLANAR", "CLOSEDPLANAR_XOR"})
_FLAT = 0.1
"""Voxels by which a contour may leave its plane."""
# A voxel reaches half its size to either side of its centre.
_HALF = 0.5
_MOST_STRUCTURES = 2**16 - 1


def read_structures(path: Path, image: Geometry) -> LabelMap:
    """Read the closed contours of an RTSTRUCT onto the image's grid; values are 1 … in the order of its structures.

    Where structures overlap the later one counts.

    Raises:
        InvalidRequestError: If it is none that can be read.
        MismatchError: If it lies in another frame of reference, across the image's planes, or outside the image.
    """
    with readable(_UNREADABLE):
        structures = read_dicom(path)
        names, values = _names(structures)
        _check_frame_of_reference(structures, image)
        result = np.zeros(image.shape, dtype=np.uint8 if len(names) < 2**8 else np.uint16)
        overlap = open_ones = 0
        for structure in structures.get("ROIContourSequence", None) or ():
            inside = np.zeros(image.shape, dtype=bool)
            for contour in structure.get("ContourSequence", None) or ():
                if contour.ContourGeometricType in _CLOSED:
                    _turn_over(inside, _indices(contour, image))
                else:
                    open_ones += 1
            overlap += int(np.count_nonzero(result[inside]))
            result[inside] = values[int(structure.ReferencedROINumber)]
    return LabelMap(result, names=names, warnings=tuple(_told(overlap, open_ones)))


def structure_names(path: Path) -> Mapping[int, str]:
    """Return an RTSTRUCT's names by the values that `read_structures` gives them.

    Raises:
        InvalidRequestError: If it is none that can be read.
    """
    with readable(_UNREADABLE):
        return _names(read_dicom(path))[0]


def _names(structures: Dataset) -> tuple[dict[int, str], dict[int, int]]:
    """Return the names by value, and the values by ROI number."""
    rois = list(structures.StructureSetROISequence)
    if len(rois) > _MOST_STRUCTURES:
        raise ValueError("more structures than a label map has values")
    names = {value: str(roi.ROIName) for value, roi in enumerate(rois, start=1)}
    return names, {int(roi.ROINumber): value for value, roi in enumerate(rois, start=1)}


def _told(overlap: int, open_ones: int) -> Iterator[str]:
    if overlap:
        yield f"Structures overlap in {overlap} voxels: there the later one counts"
    if open_ones:
        yield f"{open_ones} contours are points or open lines, and mark nothing"


def _check_frame_of_reference(structures: Dataset, image: Geometry) -> None:
    frames = {
        str(each.get("FrameOfReferenceUID", "") or "")
        for each in structures.get("ReferencedFrameOfReferenceSequence", None) or ()
    } - {""}
    if frames and image.frame_of_reference and image.frame_of_reference not in frames:
        msg = "The RTSTRUCT lies in another frame of reference than its image: draw on the image itself, or register it"
        raise MismatchError(msg)


def _indices(contour: Dataset, image: Geometry) -> NDArray[np.float64]:
    """Return a contour's points as indices (point, axis) of the image, from LPS mm."""
    points = np.array([float(value) for value in contour.ContourData]).reshape(-1, 3)
    if not np.isfinite(points).all():
        raise ValueError("a contour that lies nowhere")
    to_index = np.linalg.inv(image.affine)
    found: NDArray[np.float64] = points @ to_index[:3, :3].T + to_index[:3, 3]
    return found


def _turn_over(inside: NDArray[Any], points: NDArray[np.float64]) -> None:
    """Turn over the voxels of a contour's plane whose centres lie in it."""
    from skimage.draw import polygon2mask  # noqa: PLC0415 - only who reads an RTSTRUCT needs it

    if len(points) < 3:  # noqa: PLR2004 - a point or a line, which holds nothing
        return
    low, high = points.min(axis=0), points.max(axis=0)
    axis = int((high - low).argmin())
    plane = int(np.rint((low[axis] + high[axis]) / 2))
    if high[axis] - low[axis] > _FLAT:
        raise MismatchError("The RTSTRUCT's contours lie across the planes of the image: draw them on its slices")
    others = [other for other in range(3) if other != axis]
    sizes = np.array(inside.shape)
    if not 0 <= plane < sizes[axis] or (high < -_HALF).any() or (low > sizes - _HALF).any():
        raise MismatchError("The RTSTRUCT marks what lies outside the image: draw on the image's grid")
    cut = [slice(None)] * 3
    cut[axis] = slice(plane, plane + 1)
    flat = inside[tuple(cut)].squeeze(axis)  # a view
    flat ^= polygon2mask(flat.shape, points[:, others])  # type: ignore[no-untyped-call]  # it has no types

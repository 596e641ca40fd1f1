"""A stored label → label map on its image's grid."""

import math
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from configs.errors import InvalidRequestError, MismatchError
from infra.adapters.images.part10 import read_dicom, readable
from tasks.images.geometry import Geometry, Placement, align, place
from tasks.images.volume import PICTURE, read_geometry, read_volume
from tasks.labels.forms.label_map import LabelMap
from tasks.labels.forms.rtstruct import MODALITY, read_structures, structure_names
from tasks.labels.forms.seg import read_seg, segment_names

# NIfTI's header with its extension flag, the longest that any format needs to be told.
HEAD_BYTES = 352
_HIGHEST = 2**16 - 1
_MOST_PER_VOXEL = 2 * 16  # a label may be twice as large as its image, and no value takes more than 16 bytes
_MAGIC = (
    (".nii.gz", 0, b"\x1f\x8b"),
    (".nrrd", 0, b"NRRD000"),
    (".png", 0, b"\x89PNG"),
    (".tif", 0, b"II*\0"),
    (".tif", 0, b"MM\0*"),
    (".dcm", 128, b"DICM"),
    (".nii", 344, b"n+1"),
    (".nii", 4, b"n+2"),
)
_METAIMAGE = re.compile(rb"(ObjectType|NDims|Comment) *=")
_SEGMENT_NAME = re.compile(r"Segment(\d+)_Name")


def ending_of(head: bytes) -> str | None:
    """Tell a label's format by its first bytes, whatever its sender called it; None = none that we read."""
    if _METAIMAGE.match(head):
        return ".mha"
    if head.lstrip()[:1] == b"{":
        return ".json"
    return next((ending for ending, at, magic in _MAGIC if head[at : at + len(magic)] == magic), None)


def ending_in(file: Path) -> str | None:
    """Tell the format of a label's file, as `ending_of` does."""
    with file.open("rb") as content:
        return ending_of(content.read(HEAD_BYTES))


def read_label(path: Path, image: Geometry) -> LabelMap:
    """Read a label onto the image's grid; permuted and flipped axes are put right exactly.

    Args:
        path: `.nii`, `.nii.gz`, `.nrrd`, `.mha`, `.dcm` (SEG or RTSTRUCT); of one slice `.png`, `.tif`.
        image: The grid of the image that it speaks about.

    Raises:
        InvalidRequestError: If the bytes cannot be read.
        MismatchError: If it lies on another grid, or its values are no indices.
    """
    if path.name.endswith(".dcm"):
        return read_structures(path, image) if _is_rtstruct(path) else read_seg(path, image)
    if path.name.endswith(PICTURE):
        from tasks.images.picture import picture_values  # noqa: PLC0415 - only data sets of pictures need Pillow

        return LabelMap(_indices(picture_values(path, image.shape)))
    # The header alone first: a label on another grid is known before its voxels take any memory.
    voxels = math.prod(image.shape)
    geometry = read_geometry(path, most_bytes=sys.maxsize)  # too large is a misfit, which is kept
    placement = align(geometry, image)
    if math.prod(geometry.shape) > 2 * voxels:
        msg = f"The label ({geometry.describe()}) is larger than its image ({image.describe()}): save it on the image"
        raise MismatchError(msg)
    volume = read_volume(path, most_bytes=_MOST_PER_VOXEL * voxels)
    array = place(_indices(volume.array), volume.geometry, image)
    return LabelMap(array, names=_slicer_names(volume.notes), warnings=_cropped(geometry, image, placement))


def names_in(path: Path) -> Mapping[int, str]:
    """Return what a DICOM label calls its values, without its voxels.

    Raises:
        InvalidRequestError: If it is neither SEG nor RTSTRUCT, or cannot be read.
    """
    return structure_names(path) if _is_rtstruct(path) else segment_names(path)


def _is_rtstruct(path: Path) -> bool:
    with readable("The file is no DICOM that can be read: store it again"):
        return bool(read_dicom(path, pixels=False, only=["Modality"]).get("Modality") == MODALITY)


def _cropped(label: Geometry, image: Geometry, placement: Placement) -> tuple[str, ...]:
    """Tell of a label that was cut: what it leaves out cannot be told from what its author found to be nothing."""
    sizes = [label.shape[axis] for axis in placement.axes]
    covered = [
        (start <= 0 and start + size >= full)
        for start, size, full in zip(placement.start, sizes, image.shape, strict=True)
    ]
    if all(covered):
        return ()
    said = " x ".join(map(str, sizes)), " x ".join(map(str, image.shape))
    return (f"The label covers {said[0]} of its image's {said[1]} voxels: what lies outside it counts as unmarked",)


def _indices(array: NDArray[Any]) -> NDArray[Any]:
    """Return the values as uint8, or as uint16 where they need it."""
    if array.dtype.kind not in "biuf":
        raise InvalidRequestError(f"The label's values are {array.dtype}: save it with whole numbers")
    if array.dtype == np.uint8:
        return array
    low, high = (array.min(), array.max()) if array.size else (0, 0)
    whole = array.dtype.kind != "f" or bool((np.isfinite(array) & (array == np.rint(array))).all())
    if not whole or low < 0 or high > _HIGHEST:
        msg = f"The label's values ({low:g} to {high:g}) are no indices: save whole numbers from 0 to {_HIGHEST}"
        raise MismatchError(msg)
    return array.astype(np.uint8 if high < 2**8 else np.uint16, copy=False)


def _slicer_names(notes: Mapping[str, str]) -> dict[int, str]:
    """Return the names in a 3D Slicer segmentation's header (`Segment0_Name`, `Segment0_LabelValue`)."""
    names: dict[int, str] = {}
    for key, name in notes.items():
        found = _SEGMENT_NAME.fullmatch(key)
        value = notes.get(f"Segment{found.group(1)}_LabelValue", "") if found else ""
        if value.isdecimal():
            names[int(value)] = name
    return names

"""What a NIfTI file's header says, before its voxels are read."""

import math
import zlib
from pathlib import Path
from typing import Any

import nibabel
from nibabel.filebasedimages import ImageFileError
from nibabel.nifti1 import Nifti1Extensions
from nibabel.spatialimages import HeaderDataError
from nibabel.wrapstruct import WrapStructError

from configs.errors import InvalidRequestError
from infra.adapters.images.base import MOST_BYTES
from tasks.images.bounds import DEFLATED_AT_MOST, UNREADABLE, refuse_too_large

NIFTI = (".nii.gz", ".nii")
# Extensions lie before the voxels, and the file says how long they are.
MOST_HEADER_BYTES = 64 * 2**20
DAMAGE = (
    OSError,
    EOFError,
    ValueError,
    TypeError,
    ArithmeticError,
    LookupError,
    zlib.error,
    ImageFileError,
    WrapStructError,
    HeaderDataError,
)
"""What nibabel may raise of bytes that somebody damaged."""
# Slope and intercept make float64 of whatever is stored.
_SCALED_BYTES = 8
_UNTYPED = "V"


class _NoExtensions(Nifti1Extensions):  # type: ignore[misc]  # nibabel has no types
    """Leaves extensions unread: nothing here asks for them, and their lengths are whatever a sender likes."""

    @classmethod
    def from_fileobj(cls, fileobj: Any, size: int, byteswap: bool) -> "_NoExtensions":  # noqa: ARG003 - nibabel's signature
        """Return no extension, whatever the file says."""
        return cls()


class _Header1(nibabel.Nifti1Header):  # type: ignore[misc]  # nibabel has no types
    exts_klass = _NoExtensions


class _Header2(nibabel.Nifti2Header):  # type: ignore[misc]  # nibabel has no types
    exts_klass = _NoExtensions


class _Image1(nibabel.Nifti1Image):  # type: ignore[misc]  # nibabel has no types
    header_class = _Header1


class _Image2(nibabel.Nifti2Image):  # type: ignore[misc]  # nibabel has no types
    header_class = _Header2


def open_nifti(path: Path, most_bytes: int = MOST_BYTES) -> Any:
    """Return nibabel's image with the file's header read, whose voxels fit what is there and what is allowed.

    Raises:
        InvalidRequestError: If it cannot be read, or is too large.
    """
    image = _opened(path)
    try:
        size, end = _voxel_bytes(image), _end(image)
    except DAMAGE:
        raise InvalidRequestError(UNREADABLE) from None
    there = path.stat().st_size
    if end > (there * DEFLATED_AT_MOST if path.name.endswith(".gz") else there):
        raise InvalidRequestError("The file ends before its last voxel: store it again")
    refuse_too_large(size, most_bytes)
    return image


def nifti_bytes(path: Path, most_bytes: int = MOST_BYTES) -> int:
    """Return how long a NIfTI file is, unpacked, by its header: up to its last voxel.

    Raises:
        InvalidRequestError: If it cannot be read, or is too large.
    """
    return _end(open_nifti(path, most_bytes))


def _opened(path: Path) -> Any:
    if not path.name.endswith(NIFTI):
        raise InvalidRequestError(UNREADABLE)
    for kind in (_Image1, _Image2):
        try:
            return kind.from_filename(path)
        except DAMAGE:
            continue
    raise InvalidRequestError(UNREADABLE)


def _voxel_bytes(image: Any) -> int:
    """Return what the voxels take in memory: scaled ones become floats of 64 bits."""
    voxels = image.dataobj
    if min(voxels.shape, default=0) < 0 or voxels.dtype.kind == _UNTYPED:
        raise ValueError("sizes below zero, or values of no type")
    scaled = (voxels.slope, voxels.inter) != (1.0, 0.0)
    size = int(voxels.dtype.itemsize)
    return int(math.prod(voxels.shape)) * (max(_SCALED_BYTES, size) if scaled else size)


def _end(image: Any) -> int:
    voxels = image.dataobj
    if voxels.offset > MOST_HEADER_BYTES:
        raise InvalidRequestError(UNREADABLE)
    return int(voxels.offset + math.prod(voxels.shape) * voxels.dtype.itemsize)

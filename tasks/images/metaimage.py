"""MetaImage files, read here: the format's own reader opens whatever file it takes a header to name."""

import math
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from configs.errors import InvalidRequestError
from infra.adapters.images.metaimage import whole_header
from tasks.images.bounds import DEFLATED_AT_MOST, UNREADABLE, refuse_too_large
from tasks.images.geometry import Affine

_TYPES = {
    "MET_CHAR": "i1",
    "MET_UCHAR": "u1",
    "MET_SHORT": "i2",
    "MET_USHORT": "u2",
    "MET_INT": "i4",
    "MET_UINT": "u4",
    "MET_LONG": "i4",
    "MET_ULONG": "u4",
    "MET_LONG_LONG": "i8",
    "MET_ULONG_LONG": "u8",
    "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}
"""Values by their names in the format; its `long` has 32 bits, wherever it was written."""
# Space, time and channels.
_MOST_AXES = 5
_CHUNK_BYTES = 2**20
_ENDS_EARLY = "The file ends before its last voxel: store it again"


class MetaImage(NamedTuple):
    """A file's header.

    Args:
        path: The file.
        start: Where in it the voxels begin, in bytes.
        shape: Voxels along each axis, the first one running fastest.
        components: Values per voxel.
        dtype: A value, with its order of bytes.
        packed: Whether the voxels are deflated.
        affine: 4 x 4, index → LPS mm.
        fields: All that the header says.
    """

    path: Path
    start: int
    shape: tuple[int, ...]
    components: int
    dtype: np.dtype[Any]
    packed: bool
    affine: Affine
    fields: Mapping[str, str]


def open_metaimage(path: Path, most_bytes: int) -> MetaImage:
    """Return the header of an `.mha` file whose voxels fit what is there and what is allowed.

    Raises:
        InvalidRequestError: If it cannot be read, refers to other files, or is too large.
    """
    header, fields = whole_header(path)
    try:
        image = _understood(path, len(header), fields)
    except (KeyError, ValueError, OverflowError):
        raise InvalidRequestError(UNREADABLE) from None
    size = math.prod(image.shape) * image.components * image.dtype.itemsize
    if size > (path.stat().st_size - image.start) * (DEFLATED_AT_MOST if image.packed else 1):
        raise InvalidRequestError(_ENDS_EARLY)
    refuse_too_large(size, most_bytes)
    return image


def read_voxels(image: MetaImage) -> NDArray[Any]:
    """Return the voxels of an image of one component: axes as in its shape, the order of bytes this host's.

    Raises:
        InvalidRequestError: If they are damaged, or not all there.
    """
    size = math.prod(image.shape) * image.dtype.itemsize
    with image.path.open("rb") as file:
        file.seek(image.start)
        try:
            content = _inflated(file, size) if image.packed else np.fromfile(file, np.uint8, size)
        except zlib.error:
            raise InvalidRequestError(UNREADABLE) from None
    if len(content) < size:
        raise InvalidRequestError(_ENDS_EARLY)
    array = np.frombuffer(content, image.dtype).reshape(image.shape, order="F")
    return array.astype(image.dtype.newbyteorder("="), copy=False)


def _understood(path: Path, start: int, fields: Mapping[str, str]) -> MetaImage:
    """Return what the fields say; raises KeyError, ValueError or OverflowError where they say nothing possible."""
    axes = int(fields["NDims"])
    shape = tuple(int(size) for size in fields["DimSize"].split())
    components = int(fields.get("ElementNumberOfChannels", "1"))
    if not 1 <= axes <= _MOST_AXES or len(shape) != axes or min(*shape, components) < 1:
        raise ValueError("sizes that are none")
    if not _is_true(fields, "BinaryData", otherwise=True) or fields.get("HeaderSize", "0") != "0":
        raise ValueError("voxels as text, or not behind the header")
    swapped = any(_is_true(fields, name) for name in ("BinaryDataByteOrderMSB", "ElementByteOrderMSB"))
    return MetaImage(
        path,
        start,
        shape,
        components,
        np.dtype(_TYPES[fields["ElementType"]]).newbyteorder(">" if swapped else "<"),
        _is_true(fields, "CompressedData"),
        _affine(fields, axes),
        fields,
    )


def _affine(fields: Mapping[str, str], axes: int) -> Affine:
    """Return index → LPS mm; of the format's matrix each row is the direction of an axis."""
    rows = _numbers(fields, ("TransformMatrix", "Orientation", "Rotation"), np.eye(axes).ravel()).reshape(axes, axes)
    spacing = _numbers(fields, ("ElementSpacing", "ElementSize"), np.ones(axes))
    affine = np.eye(4)
    size = min(axes, 3)
    affine[:size, :size] = (rows.T * spacing)[:size, :size]
    affine[:size, 3] = _numbers(fields, ("Offset", "Position", "Origin"), np.zeros(axes))[:size]
    return affine


def _numbers(fields: Mapping[str, str], names: tuple[str, ...], otherwise: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the numbers of the first of these fields that is there, as many as there would be without it."""
    said = next((fields[name] for name in names if name in fields), None)
    if said is None:
        return otherwise
    numbers = np.array([float(number) for number in said.split()])
    if numbers.shape != otherwise.shape or not np.isfinite(numbers).all():
        raise ValueError("too few numbers, or too many, or none")
    return numbers


def _is_true(fields: Mapping[str, str], name: str, *, otherwise: bool = False) -> bool:
    return fields[name][:1] in {"T", "t", "1"} if name in fields else otherwise


def _inflated(file: BinaryIO, size: int) -> bytearray:
    """Unpack as much as was announced, and no byte more."""
    unpacker, content = zlib.decompressobj(zlib.MAX_WBITS | 32), bytearray()  # zlib's own head, or gzip's
    while len(content) < size and not unpacker.eof:
        packed = unpacker.unconsumed_tail or file.read(_CHUNK_BYTES)
        if not packed:
            break
        content += unpacker.decompress(packed, min(_CHUNK_BYTES, size - len(content)))
    return content

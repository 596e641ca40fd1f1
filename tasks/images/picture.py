"""A 2-D picture → the PNG that bundle hosts read: eight bits a channel, grey or red-green-blue, as people see it.

Turned as its EXIF orientation says; what is transparent lies on black; of sixteen bits the upper eight are kept;
colour profiles are not applied. How many channels a network takes is for its bundle host to say.
"""

import struct
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from configs.errors import InvalidRequestError, MismatchError
from tasks.images.geometry import Geometry

MOST_PIXELS = 2**26
"""8192 x 8192. What a few kilobytes of PNG may unpack to is bounded by nothing else."""
_FORMATS = ("PNG", "JPEG", "TIFF")
_MASKS = ("PNG", "TIFF")  # what keeps every value as it was
_UNREADABLE = "The picture cannot be read as PNG, JPEG or TIFF: store it again"
_DAMAGE = (
    OSError,
    EOFError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    struct.error,
    zlib.error,
)
"""What Pillow may raise of bytes that somebody damaged."""
_INDICES = ("1", "L", "P")
_DEEP = ("I;16", "I;16L", "I;16B", "I")
_PHONE = "MPO"
"""A JPEG with a preview or a second view beside it: the first is the picture."""
_KIND_OF_PAGE, _REDUCED = 254, 1
"""TIFF's tag NewSubfileType, and its bit of a page that is a smaller version of another."""


class Region(NamedTuple):
    """A part of a picture.

    Args:
        location: Column and row of its corner, in pixels of the whole picture.
        size: Columns and rows, in pixels of its level; what lies beyond the picture is left out.
        level: 0 = the whole picture; the next ones are smaller.
    """

    location: tuple[int, int]
    size: tuple[int, int]
    level: int = 0


class Cut(NamedTuple):
    """A region as a picture, the column and row of its corner at its level, and how many pixels one of it is."""

    picture: Image.Image
    corner: tuple[int, int]
    scale: float


def convert_picture(source: Path, target: Path) -> None:
    """Write a picture as PNG.

    Raises:
        InvalidRequestError: If it cannot be read, is too large, or is not one picture of whole numbers.
    """
    try:
        with Image.open(source, formats=_FORMATS) as picture:
            _refuse(picture)
            _refuse_several(picture)
            upright = _plain(ImageOps.exif_transpose(picture))
    except Image.DecompressionBombError:
        raise InvalidRequestError(_too_large("more")) from None
    except _DAMAGE:
        raise InvalidRequestError(_UNREADABLE) from None
    upright.save(target, "PNG", compress_level=1)


def picture_geometry(path: Path) -> Geometry:
    """Return the grid of a PNG or TIFF picture: one millimetre a pixel, (column, row, 0) from its corner.

    Raises:
        InvalidRequestError: If it cannot be read.
    """
    try:
        with Image.open(path, formats=_MASKS) as picture:
            return Geometry((*picture.size, 1), np.eye(4))
    except _DAMAGE:
        raise InvalidRequestError(_UNREADABLE) from None


def picture_values(path: Path, shape: tuple[int, int, int]) -> NDArray[Any]:
    """Return a mask's values, axes (i, j, k): a grey picture's greys, or the numbers of a palette's colours.

    Args:
        path: The mask.
        shape: The grid that it is of, one slice; its size is compared before a pixel is unpacked.

    Raises:
        InvalidRequestError: If it cannot be read.
        MismatchError: If it has another size, or colours, which are no indices.
    """
    try:
        with Image.open(path, formats=_MASKS) as picture:
            if (*picture.size, 1) != shape:
                found, wanted = (" x ".join(map(str, size)) for size in (picture.size, shape))
                raise MismatchError(
                    f"The label is a picture of {found} pixels, its image has {wanted}: draw on the image"
                )
            if picture.mode not in (*_INDICES, *_DEEP):
                raise MismatchError("The label is a picture in colours, which are no indices: save grey, or a palette")
            _refuse(picture)
            _refuse_several(picture)
            values = np.asarray(picture)
    except Image.DecompressionBombError:
        raise InvalidRequestError(_too_large("more")) from None
    except _DAMAGE:
        raise InvalidRequestError(_UNREADABLE) from None
    return values.T[..., None]


def cut_picture(source: Path, region: Region) -> Cut:
    """Cut a region out of a picture, as `convert_picture` would write it.

    A TIFF's pages that are marked as reduced are its levels after the first. One level is unpacked whole.

    Raises:
        InvalidRequestError: If it cannot be read, has no such level or place, or its level is too large.
    """
    try:
        with Image.open(source, formats=_FORMATS) as picture:
            whole = picture.width
            _go_to(picture, region.level)
            _refuse(picture)
            scale = whole / picture.width
            upright = ImageOps.exif_transpose(picture)
            left, top = (round(at / scale) for at in region.location)
            right, bottom = min(left + region.size[0], upright.width), min(top + region.size[1], upright.height)
            if left >= right or top >= bottom:
                raise InvalidRequestError(f"The region begins at {region.location}, outside of the picture")
            return Cut(_plain(upright.crop((left, top, right, bottom))), (left, top), scale)
    except Image.DecompressionBombError:
        raise InvalidRequestError(_too_large("more")) from None
    except _DAMAGE:
        raise InvalidRequestError(_UNREADABLE) from None


def _go_to(picture: Image.Image, level: int) -> None:
    levels = [0]
    if picture.format == "TIFF":
        for page in range(1, getattr(picture, "n_frames", 1)):
            picture.seek(page)
            if picture.getexif().get(_KIND_OF_PAGE, 0) & _REDUCED:
                levels.append(page)
    if len(levels) == 1:
        _refuse_several(picture)
    if level >= len(levels):
        raise InvalidRequestError(f"Level {level} is asked for, and the picture's file has {len(levels)}, from 0")
    picture.seek(levels[level])


def _refuse(picture: Image.Image) -> None:
    """Refuse by the header alone, before a pixel is unpacked."""
    width, height = picture.size
    if width * height > MOST_PIXELS:
        raise InvalidRequestError(_too_large(f"{width} x {height}"))
    if picture.mode == "F":
        raise InvalidRequestError("The picture's values are fractions: store it as NIfTI, or with whole numbers")


def _refuse_several(picture: Image.Image) -> None:
    pages = getattr(picture, "n_frames", 1)
    if pages > 1 and picture.format != _PHONE:
        raise InvalidRequestError(f"The picture's file holds {pages} pictures: store each in a file of its own")


def _too_large(found: str) -> str:
    return f"The picture has {found} pixels, and at most {MOST_PIXELS} are read: store it smaller, or in tiles"


def _plain(picture: Image.Image) -> Image.Image:
    """Return it as `L` or `RGB`."""
    if picture.mode in _DEEP:
        return _upper_bits(picture)
    grey = picture.mode in ("1", "L", "LA")
    if picture.has_transparency_data:
        above = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", above.size, "black"), above)
    return picture.convert("L" if grey else "RGB")


def _upper_bits(picture: Image.Image) -> Image.Image:
    values = np.asarray(picture)
    if values.min() < 0 or values.max() >= 2**16:
        raise InvalidRequestError("The picture has 32 bits a pixel: store it as NIfTI, or with 16 bits")
    return Image.fromarray((values.astype(np.uint16) >> 8).astype(np.uint8))

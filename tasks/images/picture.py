"""A 2-D picture → the PNG that bundle hosts read: eight bits a channel, grey or red-green-blue, as people see it.

Turned as its EXIF orientation says; what is transparent lies on black; of sixteen bits the upper eight are kept;
colour profiles are not applied. How many channels a network takes is for its bundle host to say.
"""

import struct
import zlib
from pathlib import Path
from typing import Any

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


def convert_picture(source: Path, target: Path) -> None:
    """Write a picture as PNG.

    Raises:
        InvalidRequestError: If it cannot be read, is too large, or is not one picture of whole numbers.
    """
    try:
        with Image.open(source, formats=_FORMATS) as picture:
            _refuse(picture)
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
            values = np.asarray(picture)
    except Image.DecompressionBombError:
        raise InvalidRequestError(_too_large("more")) from None
    except _DAMAGE:
        raise InvalidRequestError(_UNREADABLE) from None
    return values.T[..., None]


def _refuse(picture: Image.Image) -> None:
    """Refuse by the header alone, before a pixel is unpacked."""
    width, height = picture.size
    if width * height > MOST_PIXELS:
        raise InvalidRequestError(_too_large(f"{width} x {height}"))
    pages = getattr(picture, "n_frames", 1)
    if pages > 1 and picture.format != _PHONE:
        raise InvalidRequestError(f"The picture's file holds {pages} pictures: store each in a file of its own")
    if picture.mode == "F":
        raise InvalidRequestError("The picture's values are fractions: store it as NIfTI, or with whole numbers")


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

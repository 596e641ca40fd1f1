"""Files that ITK reads: their headers first, so that nothing is unpacked that is not there or is too large."""

import math
from pathlib import Path
from typing import Any

from configs.errors import InvalidRequestError
from tasks.images.bounds import UNREADABLE, refuse_too_large


def open_itk(path: Path, io: str, *, most_there: int, most_bytes: int) -> Any:
    """Return SimpleITK's reader with the file's header read, whose voxels fit what is there and what is allowed.

    Args:
        path: The file; its header names no other one.
        io: ITK's name of its format.
        most_there: Bytes that the file's voxels can unpack to.
        most_bytes: Bytes that they may.

    Raises:
        InvalidRequestError: If it cannot be read, ends too early, or is too large.
    """
    import SimpleITK  # noqa: PLC0415 - 100 MB in every process that never sees one

    reader = SimpleITK.ImageFileReader()
    reader.SetImageIO(io)
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
        one = SimpleITK.Image([1, 1], reader.GetPixelID(), reader.GetNumberOfComponents())
    except (RuntimeError, ValueError, OverflowError):  # their text holds the path
        raise InvalidRequestError(UNREADABLE) from None
    size = math.prod(reader.GetSize()) * one.GetSizeOfPixelComponent() * one.GetNumberOfComponentsPerPixel()
    if size > most_there:
        raise InvalidRequestError("The file ends before its last voxel: store it again")
    refuse_too_large(size, most_bytes)
    return reader

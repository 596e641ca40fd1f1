"""What an NRRD file's header says, before its voxels are read.

The format lets a header name other files as its data: such a header, sent to us, would have us read files of this host.
"""

from pathlib import Path
from typing import Any

from configs.errors import InvalidRequestError
from infra.adapters.images.base import MOST_BYTES
from tasks.images.bounds import DEFLATED_AT_MOST, UNREADABLE
from tasks.images.itk import open_itk

# Slicer writes a few lines for each segment; the voxels follow in the same file.
MOST_HEADER_BYTES = 2**20
_TEXT = frozenset({"ascii", "txt", "text", "hex"})
_PACKED = frozenset({"gz", "gzip"})


def open_nrrd(path: Path, most_bytes: int = MOST_BYTES) -> Any:
    """Return SimpleITK's reader with the file's header read, whose voxels fit what is there and what is allowed.

    Raises:
        InvalidRequestError: If it cannot be read, refers to other files, or is too large.
    """
    encoding, offset = _encoding(path)
    there = path.stat().st_size - offset
    most = there * DEFLATED_AT_MOST if encoding in _PACKED else there * 8 if encoding in _TEXT else there
    return open_itk(path, "NrrdImageIO", most_there=most, most_bytes=most_bytes)


def _encoding(path: Path) -> tuple[str, int]:
    """Return how the voxels are written, and how long the header is."""
    with path.open("rb") as file:
        head = file.read(MOST_HEADER_BYTES)
    encoding, offset = "raw", 0
    for line in head.splitlines(keepends=True):
        offset += len(line)
        if not line.strip(b"\r\n"):
            return encoding, offset
        name, _, value = line.partition(b":")
        field = b"".join(name.split()).lower()
        if field.startswith(b"datafile"):
            raise InvalidRequestError("The NRRD header refers to another file for its voxels: send one whole file")
        if field == b"encoding":
            encoding = value.strip().lower().decode("ascii", "replace")
    raise InvalidRequestError(UNREADABLE)

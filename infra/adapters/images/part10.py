"""DICOM files, read so that what they declare takes no memory that their bytes do not fill.

pydicom allocates what an element's length says, and unpacks a deflated file whole, before it looks at what is there.
"""

import logging
import mmap
import struct
import warnings
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

import pydicom
from pydicom.dataset import Dataset
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.filereader import _read_file_meta_info, read_preamble
from pydicom.uid import DeflatedExplicitVRLittleEndian

from configs.errors import InvalidRequestError
from infra.adapters.images.base import MOST_BYTES

# What pydicom warns of names files and values; no log may.
logging.getLogger("pydicom").setLevel(logging.CRITICAL + 1)
warnings.filterwarnings("ignore", module=r"pydicom(\..*)?$")

DAMAGE_IN_MEMORY = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    BytesLengthException,
    EOFError,
    InvalidDicomError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
)
"""What whoever asks data sets for values may raise of bytes that somebody damaged."""
DAMAGE = (*DAMAGE_IN_MEMORY, OSError, zlib.error)
"""The same of a file that pydicom reads."""
_CHUNK_BYTES = 2**20


def read_dicom(
    path: Path, *, pixels: bool = True, only: Sequence[str] | None = None, most_bytes: int = MOST_BYTES
) -> Dataset:
    """Read a DICOM file; its values are read from the bytes when they are asked for, and may be damaged then.

    Args:
        path: The file.
        pixels: Whether what follows the header is read.
        only: Keywords of the elements that are wanted; None = all.
        most_bytes: What a deflated file may unpack to.

    Raises:
        InvalidRequestError: If it is none, or unpacks to more.
    """
    with (
        readable("The file is no DICOM that can be read: store it again"),
        path.open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped,
    ):
        content = cast("BinaryIO", mapped)  # it reads, seeks and tells
        read_preamble(content, force=False)
        if _read_file_meta_info(content).get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian:
            _refuse_bomb(content, most_bytes)
        content.seek(0)
        found = pydicom.dcmread(
            content, stop_before_pixels=not pixels, specific_tags=None if only is None else list(only)
        )
        found.buffer = None  # the map is closed; nothing here is read late
        return found


@contextmanager
def readable(message: str) -> Iterator[None]:
    """Raise an `InvalidRequestError` with this message for what damaged DICOM makes its readers raise."""
    try:
        yield
    except DAMAGE:
        raise InvalidRequestError(message) from None


def _refuse_bomb(content: BinaryIO, most_bytes: int) -> None:
    """Unpack what follows, keeping nothing, and refuse it if there is too much."""
    unpacker, size = zlib.decompressobj(-zlib.MAX_WBITS), 0
    while (packed := content.read(_CHUNK_BYTES)) and not unpacker.eof:
        while packed and not unpacker.eof:  # after its end some versions of zlib leave the tail as it was
            size += len(unpacker.decompress(packed, _CHUNK_BYTES))
            packed = unpacker.unconsumed_tail
            if size > most_bytes:
                msg = f"The file unpacks to more than {most_bytes} bytes: send a smaller one, or raise volume_mib"
                raise InvalidRequestError(msg)

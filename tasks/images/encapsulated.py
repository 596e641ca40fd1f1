"""The size of a compressed DICOM frame, by its own header: a decoder allocates what that says, whatever DICOM says.

JPEG and JPEG-LS: the frame header, marker SOFn (ITU-T T.81, B.2.2; T.87, C.2.2). JPEG 2000 and HTJ2K: the marker SIZ
(ITU-T T.800, A.5.1).
"""

import struct
from collections.abc import Iterator

from pydicom.dataset import Dataset
from pydicom.encaps import generate_frames
from pydicom.uid import RLELossless

_JPEG, _J2K = b"\xff\xd8", b"\xff\x4f\xff\x51"
_JP2 = b"\x00\x00\x00\x0cjP  "
_FRAME_HEADERS = frozenset({*range(0xC0, 0xD0), 0xF7}) - {0xC4, 0xC8, 0xCC}
_ALONE = frozenset({0x01, *range(0xD0, 0xD8), 0xFF})
_SIZ = struct.Struct(">HHIIII")
_JPEG_SIZE = struct.Struct(">BHH")


def check_frames(instance: Dataset, frames: int) -> None:
    """Check that no compressed frame of an instance says that it is of another size than the instance.

    Raises:
        ValueError: If one does, or says no size.
    """
    syntax = instance.file_meta.TransferSyntaxUID
    if not syntax.is_encapsulated or syntax == RLELossless:
        return  # a run of 2 bytes makes at most 128: what it becomes is bounded by what is there
    wanted = int(instance.Rows), int(instance.Columns)
    for frame in generate_frames(instance.PixelData, number_of_frames=frames):
        if size_of(frame) != wanted:
            raise ValueError("a compressed frame is of another size than its instance says")


def size_of(frame: bytes) -> tuple[int, int] | None:
    """Return rows and columns as a JPEG, JPEG-LS or JPEG 2000 stream says them; None if it says none."""
    if frame.startswith(_JP2):
        start = frame.find(_J2K)
        frame = frame[start:] if start > 0 else frame
    if frame.startswith(_J2K) and len(frame) >= len(_J2K) + _SIZ.size:
        _, _, columns, rows, left, top = _SIZ.unpack_from(frame, len(_J2K))
        return (rows - top, columns - left)
    if frame.startswith(_JPEG):
        return next(_jpeg_sizes(frame), None)
    return None


def _jpeg_sizes(frame: bytes) -> Iterator[tuple[int, int]]:
    at = len(_JPEG)
    while at + 2 + 2 + _JPEG_SIZE.size <= len(frame):
        if frame[at] != 0xFF:  # noqa: PLR2004 - what a marker begins with
            return
        marker = frame[at + 1]
        if marker in _ALONE:
            at += 1 if marker == 0xFF else 2  # noqa: PLR2004 - a fill byte
            continue
        (length,) = struct.unpack_from(">H", frame, at + 2)
        if marker in _FRAME_HEADERS:
            _, rows, columns = _JPEG_SIZE.unpack_from(frame, at + 4)
            yield rows, columns
        at += 2 + length

"""Files as one tar.gz, made while it is sent: memory holds a piece of one file, whatever their sizes."""

import os
import zlib
from collections.abc import Callable, Iterable, Iterator
from tarfile import BLOCKSIZE, PAX_FORMAT, TarInfo
from typing import BinaryIO, NamedTuple

from configs.errors import CorruptError

_PIECE = 2**20
_GZIP = 31  # zlib's number for gzip's frame around a window of 32 KiB
_LIGHT = 1  # weights hardly shrink, however long one tries


class Packed(NamedTuple):
    """A file of the archive: its path there, and what opens it, once its turn has come."""

    name: str
    open: Callable[[], BinaryIO]


def tar_gz(files: Iterable[Packed], at: float) -> Iterator[bytes]:
    """Yield a tar.gz of the files, all of this time (seconds since 1970), of nobody and of no group.

    Raises:
        CorruptError: If a file has fewer bytes than when it was begun.
    """
    squeeze = zlib.compressobj(_LIGHT, wbits=_GZIP)
    for plain in _tar(files, int(at)):
        if piece := squeeze.compress(plain):
            yield piece
    yield squeeze.flush()


def _tar(files: Iterable[Packed], at: int) -> Iterator[bytes]:
    for name, opened in files:
        with opened() as file:
            about = TarInfo(name)
            about.size, about.mtime = os.fstat(file.fileno()).st_size, at
            yield about.tobuf(PAX_FORMAT)
            left = about.size
            while left:
                piece = file.read(min(_PIECE, left))
                if not piece:
                    raise CorruptError("A file of a job's results became shorter while it was sent: ask again")
                left -= len(piece)
                yield piece
        yield bytes(-about.size % BLOCKSIZE)
    yield bytes(2 * BLOCKSIZE)

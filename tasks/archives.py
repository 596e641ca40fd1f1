"""Archives from outside: bounded before their lists are read, and what damaged ones raise, told in our words."""

import errno
import lzma
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from configs.errors import InvalidRequestError

_DAMAGE = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    ArithmeticError,
    EOFError,
    FileExistsError,
    LookupError,
    RuntimeError,
    ValueError,
)
_IMPOSSIBLE = frozenset({errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR, errno.EINVAL, errno.EILSEQ})
_ENTRIES, _LIST_BYTES = 4, 5
_MOST_ENTRY_BYTES = 512
"""What an entry of a zip's list may take on average: its name, and 46 bytes at least."""


@contextmanager
def open_zip(source: Path, most: int) -> Iterator[zipfile.ZipFile]:
    """Open a zip of at most so many files and folders; a list that is longer is refused before it is read.

    Raises:
        InvalidRequestError: If there are more.
        zipfile.BadZipFile: If it is damaged; `readable_archive` knows this and what else may be raised.
    """
    with source.open("rb") as file:
        # ZipFile's own reading of the record: ours might find another one.
        record = zipfile._EndRecData(file)  # type: ignore[attr-defined]  # noqa: SLF001 - it has no public name
    if record is None:
        raise zipfile.BadZipFile
    refuse_more(record[_ENTRIES], most)
    if record[_LIST_BYTES] > most * _MOST_ENTRY_BYTES:  # the size is what ZipFile reads by; the number may lie
        refuse_more(record[_LIST_BYTES] // _MOST_ENTRY_BYTES, most)
    with zipfile.ZipFile(source) as archive:
        refuse_more(len(archive.infolist()), most)
        yield archive


@contextmanager
def readable_archive(what: str) -> Iterator[None]:
    """Refuse an archive that cannot be unpacked; *what* names it.

    Raises:
        InvalidRequestError: If the block fails as it does on a damaged or encrypted one.
    """
    try:
        yield
    except _DAMAGE:  # their text names members, and these may name patients
        raise InvalidRequestError(f"{what} is damaged, encrypted, or names a file twice") from None
    except OSError as error:
        if error.errno not in _IMPOSSIBLE:
            raise
        raise InvalidRequestError(f"{what} has a member whose name or place is none") from None


def refuse_more(found: int, most: int) -> None:
    """Refuse an archive with too many members.

    Raises:
        InvalidRequestError: If it has.
    """
    if found > most:
        raise InvalidRequestError(f"The archive has {found} files and folders or more: {most} are read at most")

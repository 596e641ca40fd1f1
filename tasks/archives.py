"""What damaged archives raise, told in our words."""

import errno
import lzma
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

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


@contextmanager
def readable_archive(what: str) -> Iterator[None]:
    """Refuse an archive that cannot be unpacked; *what* names it.

    Raises:
        InvalidRequestError: If the block fails as it does on a damaged or encrypted one.
    """
    try:
        yield
    except _DAMAGE as error:
        raise InvalidRequestError(f"{what} is damaged, encrypted, or names a file twice") from error
    except OSError as error:
        if error.errno not in _IMPOSSIBLE:
            raise
        raise InvalidRequestError(f"{what} has a member whose name or place is none") from error

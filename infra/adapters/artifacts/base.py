"""What our own store of immutable files can do, wherever the files are."""

from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO, NamedTuple, Protocol


class Incoming(NamedTuple):
    """Bytes that are being stored: a file that has all of them by then, to be read in the block, and their hash."""

    file: Future[Path]
    sha256: Future[str]


class Artifacts(Protocol):
    """Files by the hash of their bytes."""

    def put_file(self, path: Path) -> str:
        """Store a copy of the file and return its sha256 once it is durable."""

    def put_bytes(self, content: bytes) -> str:
        """Store the bytes and return their sha256 once they are durable."""

    def putting(self, source: BinaryIO) -> AbstractContextManager[Incoming]:
        """Store what is read from *source*: it can be looked at in the block, and is durable when that has ended.

        Nothing is stored if the block fails.
        """

    def path(self, sha256: str) -> Path:
        """Return a local file with these bytes, checked.

        Raises:
            NotFoundError: If nothing of this hash is stored.
            CorruptError: If the bytes do not match the hash.
        """

    def read_bytes(self, sha256: str) -> bytes:
        """Return the bytes, checked; raises as `path`."""

    def size(self, sha256: str) -> int:
        """Return how many bytes are stored under this hash, unread.

        Raises:
            NotFoundError: If nothing of this hash is stored.
        """

    def delete(self, sha256: str, *, older_than_s: float = 0.0) -> bool:
        """Remove the bytes, unless they were put less than this many seconds ago, and say whether they were there.

        A put of the same bytes comes before or after this, never between its look and its removal. Only who has asked
        the catalog whether a row names them may.
        """

    def hashes(self, *, older_than_s: float = 0.0) -> Iterator[str]:
        """List what was put longer ago than this, in no promised order."""

    def drop_partial(self, *, older_than_s: float) -> int:
        """Remove what puts began this many seconds ago and never ended, and return how many there were."""

    def attempt_folder(self, job: str, attempt: int) -> Path:
        """Return the folder that this attempt alone writes, made if it is missing."""

"""What our own store of immutable files can do, wherever the files are."""

from pathlib import Path
from typing import Protocol


class Artifacts(Protocol):
    """Files by the hash of their bytes."""

    def put_file(self, path: Path) -> str:
        """Store a copy of the file and return its sha256 once it is durable."""

    def put_bytes(self, content: bytes) -> str:
        """Store the bytes and return their sha256 once they are durable."""

    def path(self, sha256: str) -> Path:
        """Return a local file with these bytes, checked.

        Raises:
            NotFoundError: If nothing of this hash is stored.
            CorruptError: If the bytes do not match the hash.
        """

    def read_bytes(self, sha256: str) -> bytes:
        """Return the bytes, checked; raises as `path`."""

    def delete(self, sha256: str) -> None:
        """Remove the bytes; nothing happens if they are not there. Only the sweeper may, by the catalog's leave."""

    def attempt_folder(self, job: str, attempt: int) -> Path:
        """Return the folder that this attempt alone writes, made if it is missing."""

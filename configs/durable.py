"""Making what was written outlive a power cut, not only the process that wrote it."""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def written(path: Path, *, mode: int = 0o666) -> Iterator[BinaryIO]:
    """Give a file that takes the place of *path* when the block ends well: whole and on the disk, or not at all.

    Args:
        path: In a folder that is there.
        mode: Permissions, less what the process masks. It is opened with them: nobody else may read it for a moment.
    """
    partial = path.with_name(f"tmp-{uuid.uuid4().hex}")
    try:
        handle = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        # Only now: a rename is there or not, but may be on the disk before bytes that nobody synced.
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    sync_folder(path.parent)


def sync_file(path: Path) -> None:
    """Put a closed file's bytes on the disk: a rename may else be there after a power cut, and the bytes not."""
    _sync(path, os.O_RDONLY)


def sync_folder(folder: Path) -> None:
    """Put a folder's names on the disk: syncing a new or renamed file keeps its bytes, not that it is there."""
    _sync(folder, os.O_RDONLY | os.O_DIRECTORY)


def _sync(path: Path, flags: int) -> None:
    handle = os.open(path, flags)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

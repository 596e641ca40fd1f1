"""Making what was written outlive a power cut, not only the process that wrote it."""

import os
from pathlib import Path


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

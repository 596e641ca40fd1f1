"""Copying and creating files so that nothing half-written is ever seen."""

import errno
import hashlib
import os
import re
import shutil
import time
import uuid
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from configs.durable import sync_file, sync_folder
from configs.errors import UnfinishedError

# Large enough that system calls are nothing beside hashing, small enough for many copies at once.
_CHUNK_BYTES = 2**20
_NO_LINKS = frozenset({errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK})
_PARTIAL, _LEFT_AFTER_S = re.compile(r"\.[0-9a-f]{32}\.tmp"), 86_400.0


def partial_beside(target: Path) -> Path:
    """Return a new name in the same folder, for what is not whole yet; nothing that begins with a dot is listed."""
    return target.parent / f".{uuid.uuid4().hex}.tmp"


def sweep(entry: os.DirEntry[str]) -> None:
    """Remove what a writer that was killed left under a name of `partial_beside`, a day later; if that may be."""
    if not _PARTIAL.fullmatch(entry.name):
        return
    with suppress(OSError):
        if time.time() - entry.stat(follow_symlinks=False).st_mtime < _LEFT_AFTER_S:
            return
        if entry.is_dir(follow_symlinks=False):
            shutil.rmtree(entry.path)
        else:
            Path(entry.path).unlink()


def hash_file(path: Path) -> str:
    """Return the sha256 of the file's bytes in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def copy_hashed(source: Path, target: Path, *, head: bytes = b"") -> str:
    """Copy a file that somebody may be writing; return the sha256 of what was written, which begins with *head*.

    Raises:
        UnfinishedError: If the source changed meanwhile.
    """
    digest = hashlib.sha256(head)
    target.parent.mkdir(parents=True, exist_ok=True)
    with source.open("rb") as reading, target.open("xb") as writing:
        writing.write(head)
        # Of the open file, not of its name: the name may lead to another file by now.
        before = os.fstat(reading.fileno())
        while chunk := reading.read(_CHUNK_BYTES):
            digest.update(chunk)
            writing.write(chunk)
        after = os.fstat(reading.fileno())
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        target.unlink()
        raise UnfinishedError("The file changed while it was read: ask again when its writer has finished")
    return digest.hexdigest()


def write_hashed(pieces: Iterable[bytes], target: Path) -> str:
    """Write a new file; return the sha256 of its bytes in hex."""
    digest = hashlib.sha256()
    with target.open("xb", buffering=0) as file:
        for piece in pieces:
            digest.update(piece)
            file.write(piece)
    return digest.hexdigest()


def create_exclusively(source: Path, target: Path, *, settle: bool = True) -> bool:
    """Make `target` a copy of `source`, whole or not at all; answer False, changing nothing, if it exists.

    It is durable, unless *settle* is false: then a power cut may leave the beginning of it, or nothing.
    """
    # Their names have to be synced, too, each in the folder above it.
    missing = [folder for folder in target.parents if not folder.exists()]
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = partial_beside(target)
    try:
        with source.open("rb") as reading, partial.open("xb") as writing:
            _copy(reading, writing)
            if settle:
                os.fsync(writing.fileno())
        try:
            # A link fails where the name is taken; a rename would replace what is there.
            os.link(partial, target)
        except FileExistsError:
            return False
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            if target.exists():
                return False
            partial.rename(target)  # a file system without links: label ids are unique, so nobody else writes this one
    finally:
        partial.unlink(missing_ok=True)
    for folder in {target.parent, *(folder.parent for folder in missing)} if settle else ():
        sync_folder(folder)
    return True


def settle(path: Path, root: Path) -> None:
    """Make a file durable that was created without waiting for it, and the folders that lead to it from *root*."""
    sync_file(path)
    for folder in path.parents[: len(path.relative_to(root).parts)]:
        sync_folder(folder)


def is_cut_short(path: Path, whole: Path) -> bool:
    """Say whether a file is what a power cut leaves of a copy of *whole*: there, and only its beginning."""
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        return False
    if size >= whole.stat().st_size:
        return False
    with path.open("rb") as left, whole.open("rb") as ours:
        return all(chunk == ours.read(len(chunk)) for chunk in iter(lambda: left.read(_CHUNK_BYTES), b""))


def _copy(reading: BinaryIO, writing: BinaryIO) -> None:
    """Copy in the kernel, which shares the blocks where the file system can; else by hand."""
    left = os.fstat(reading.fileno()).st_size
    try:
        while left > 0 and (done := os.copy_file_range(reading.fileno(), writing.fileno(), left)):
            left -= done
    except (AttributeError, OSError):  # not on this system, or not between these file systems
        os.ftruncate(writing.fileno(), 0)
        os.lseek(reading.fileno(), 0, os.SEEK_SET)
        os.lseek(writing.fileno(), 0, os.SEEK_SET)
        shutil.copyfileobj(reading, writing, _CHUNK_BYTES)
        writing.flush()

"""Our own immutable files on a POSIX file system.

<folder>/blobs/sha256/<2 hex>/<64 hex>     read-only; the name is the hash of the bytes
<folder>/blobs/sha256/sweep.lock           held by whoever puts (shared) or removes (alone), for one rename or unlink
<folder>/attempts/<job>/<n>/               see `attempts.py`

A put writes its file anew, whatever was there, so a blob's time says when it was put last: whoever removes old ones
cannot meet one that is on its way into a row, and needs no table that every put would have to write first.
"""

import fcntl
import hashlib
import mmap
import os
import re
import shutil
import stat
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from io import BufferedReader, BytesIO
from pathlib import Path
from typing import BinaryIO

from configs.durable import sync_file, sync_folder
from configs.errors import CorruptError, InvalidRequestError, NotFoundError
from infra.adapters.artifacts.base import Incoming

_SHA256 = re.compile(r"[0-9a-f]{64}")
# Large enough that other threads' Python does not come between each two, too small for the kernel to look for large
# pages, which takes some virtual machines longer than all of the writing.
_PIECE_BYTES = 2**18
_PLAIN_NAME = re.compile(r"[0-9A-Za-z][0-9A-Za-z_-]{0,127}")


class Blobs:
    """`Artifacts` in a folder, shared by any number of processes.

    Args:
        folder: Made if it is missing.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        # What this process has verified, by size, time and inode: a changed file is hashed again.
        self._verified: dict[str, tuple[int, int, int]] = {}
        # Folders whose own name this process has synced: it stays, so once is enough.
        self._lasting: set[Path] = set()

    def put_file(self, path: Path) -> str:
        """Store a copy of a regular file; a link is refused, since a bundle host may have made it.

        Raises:
            InvalidRequestError: If it is no regular file.
        """
        with _opened(path) as file, self.putting(file) as incoming:
            return incoming.sha256.result()

    def put_bytes(self, content: bytes) -> str:
        """Store the bytes."""
        with self.putting(BytesIO(content)) as incoming:
            return incoming.sha256.result()

    @contextmanager
    def putting(self, source: BinaryIO) -> Iterator[Incoming]:
        """Write to a name of our own beside the block; what is written is synced and hashed, and may be looked at."""
        folder = self._folder / "blobs" / "sha256"
        folder.mkdir(parents=True, exist_ok=True)
        partial = folder / f"tmp-{uuid.uuid4().hex}"
        try:
            with ThreadPoolExecutor(3) as pool:
                whole = pool.submit(_write, source, partial)
                synced = pool.submit(lambda: sync_file(whole.result()))
                hashed = pool.submit(lambda: _hash(whole.result()))
                yield Incoming(whole, hashed)
            synced.result()
            self._keep(partial, hashed.result())
        finally:
            partial.unlink(missing_ok=True)

    def path(self, sha256: str) -> Path:
        """Return the blob's file, its bytes checked when this process meets it first and whenever it changed."""
        path = self._place(sha256)
        try:
            with path.open("rb") as file:
                self._verify(sha256, file)
        except FileNotFoundError:
            raise NotFoundError("blob", sha256) from None
        return path

    def read_bytes(self, sha256: str) -> bytes:
        """Return the blob's bytes, checked."""
        return self.path(sha256).read_bytes()

    def size(self, sha256: str) -> int:
        """Return how many bytes the blob has, unread."""
        try:
            return self._place(sha256).stat().st_size
        except FileNotFoundError:
            raise NotFoundError("blob", sha256) from None

    def delete(self, sha256: str, *, older_than_s: float = 0.0) -> bool:
        """Remove the blob, unless it was put less than this many seconds ago, and say whether it was there."""
        place = self._place(sha256)
        with self._lock(fcntl.LOCK_EX):
            if not _is_older(place, older_than_s):
                return False
            place.unlink()
        self._verified.pop(sha256, None)
        return True

    def hashes(self, *, older_than_s: float = 0.0) -> Iterator[str]:
        """List what was put longer ago than this, in no promised order."""
        for path in (self._folder / "blobs" / "sha256").glob("??/*"):
            if _SHA256.fullmatch(path.name) and _is_older(path, older_than_s):
                yield path.name

    def drop_partial(self, *, older_than_s: float) -> int:
        """Remove what puts began this many seconds ago and never ended, and return how many there were."""
        found = [path for path in (self._folder / "blobs" / "sha256").glob("tmp-*") if _is_older(path, older_than_s)]
        for path in found:
            path.unlink(missing_ok=True)
        return len(found)

    def attempt_folder(self, job: str, attempt: int) -> Path:
        """Return `attempts/<job>/<attempt>`, made if it is missing.

        Raises:
            InvalidRequestError: If the job's id is no plain name.
        """
        if not _PLAIN_NAME.fullmatch(job) or attempt < 1:
            raise InvalidRequestError(
                f"{job!r}, attempt {attempt} names no folder: give a job's id and a number from 1"
            )
        folder = self._folder / "attempts" / job / str(attempt)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _keep(self, partial: Path, sha256: str) -> None:
        """Give what is on the disk the name of its hash: nothing half-written is ever there."""
        target = self._place(sha256)
        target.parent.mkdir(exist_ok=True)
        # Shared with other puts, never with a sweep: that one looks how old a blob is and removes it in one go.
        with self._lock(fcntl.LOCK_SH):
            partial.rename(target)  # over an equal file, or over a corrupt one
        sync_folder(target.parent)
        if target.parent not in self._lasting:
            sync_folder(target.parent.parent)
            self._lasting.add(target.parent)

    @contextmanager
    def _lock(self, kind: int) -> Iterator[None]:
        folder = self._folder / "blobs" / "sha256"
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder / "sweep.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, kind)
            yield
        finally:
            os.close(handle)

    def _place(self, sha256: str) -> Path:
        if not _SHA256.fullmatch(sha256):
            raise NotFoundError("blob", sha256)
        return self._folder / "blobs" / "sha256" / sha256[:2] / sha256

    def _verify(self, sha256: str, file: BufferedReader) -> None:
        now = os.fstat(file.fileno())
        mark = (now.st_size, now.st_mtime_ns, now.st_ino)
        if self._verified.get(sha256) == mark:
            return
        if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
            msg = f"The stored bytes of {sha256} are damaged: restore this file of the artifacts from a backup"
            raise CorruptError(msg)
        self._verified[sha256] = mark


def _write(source: BinaryIO, path: Path) -> Path:
    with path.open("xb") as file:
        shutil.copyfileobj(source, file, _PIECE_BYTES)
        file.flush()
        # Before it has its name: nobody, ourselves included, ever opens a blob to write.
        os.fchmod(file.fileno(), 0o400)
    return path


def _hash(path: Path) -> str:
    """Return the hash in one call: in pieces, each would wait for a turn with the threads that run Python."""
    with path.open("rb") as file:
        if not os.fstat(file.fileno()).st_size:
            return hashlib.sha256().hexdigest()
        with mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as content:
            return hashlib.sha256(content).hexdigest()


def _opened(path: Path) -> BufferedReader:
    """Open a regular file; no link is followed, and a pipe, which a bundle host may have put there, not waited for."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else type(error).__name__
        msg = f"A file to be stored cannot be opened ({reason}): only regular files are stored"
        raise InvalidRequestError(msg) from None
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise InvalidRequestError("What is to be stored is no file: only regular files are stored")
    return os.fdopen(handle, "rb")


def _is_older(path: Path, seconds: float) -> bool:
    try:
        return time.time() - path.stat().st_mtime >= seconds
    except FileNotFoundError:
        return False

"""Backups at a URL: files by the hash of their bytes, and notes that say what belongs together.

<url>/teachback-backup.json                  whose backups these are
<url>/objects/<2 hex>/<64 hex>               the name is the hash of the bytes
<url>/backups/<time>-<12 hex>.json           written last; its name ends with the beginning of its own hash

A note whose bytes do not have its hash was cut off or changed: it is not there. So an interrupted backup leaves
objects, which the next one finds, and never a note.
"""

import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import BinaryIO

import fsspec
from fsspec.implementations.local import LocalFileSystem

from configs.durable import written
from configs.errors import CorruptError, NotFoundError, StoreError

_MARK = "teachback-backup.json"
_SHA256 = re.compile(r"[0-9a-f]{64}")
_NOTE = re.compile(r"(\d{8}T\d{6}\.\d{6}Z-[0-9a-f]{12})\.json")
# Enough of the hash that a list which was cut or altered is told from a whole one; two names never meet by chance.
_TAIL = 12
_CHUNK_BYTES = 2**20
# Backups hold everything, patients' images among it.
_OWNER_ALONE = 0o700


class Depot:
    """Backups in a folder, or wherever fsspec writes (`s3://bucket/folder`, with this machine's credentials).

    Args:
        url: A path or a URL.

    Raises:
        StoreError: If no file system is known for it, and from every method if it cannot be read or written.
    """

    def __init__(self, url: str) -> None:
        with _told("opened"):
            self._files, root = fsspec.core.url_to_fs(url)
        self._root = str(root).rstrip("/")
        self.folder = Path(self._root) if isinstance(self._files, LocalFileSystem) else None
        """The folder, where it is one of this machine."""

    def owner(self) -> str:
        """Return whose backups these are; empty where there are none."""
        with _told("read"):
            try:
                return str(self._files.cat_file(f"{self._root}/{_MARK}").decode())
            except FileNotFoundError:
                return ""

    def claim(self, owner: str) -> None:
        """Make the place, and note whose backups it holds."""
        with _told("written"):
            if self.folder is not None:
                self.folder.mkdir(mode=_OWNER_ALONE, parents=True, exist_ok=True)
            self._write(_MARK, owner.encode())

    def sizes(self) -> dict[str, int]:
        """Return what is stored: hash → bytes."""
        with _told("read"):
            found = self._files.find(f"{self._root}/objects", detail=True)
        named = {path.rpartition("/")[2]: about["size"] for path, about in found.items()}
        return {name: int(size or 0) for name, size in named.items() if _SHA256.fullmatch(name)}

    def put(self, sha256: str, path: Path) -> None:
        """Store a copy of a file that has this hash."""
        name = _place(sha256)
        with _told("written"):
            if self.folder is not None:
                with path.open("rb") as source, self._written(self.folder / name) as target:
                    while chunk := source.read(_CHUNK_BYTES):
                        target.write(chunk)
                return
            self._files.makedirs(f"{self._root}/{name}".rpartition("/")[0], exist_ok=True)
            self._files.put_file(str(path), f"{self._root}/{name}")
            size = self._files.info(f"{self._root}/{name}")["size"]
        if size != path.stat().st_size:
            raise StoreError("The place for backups kept less than it was given: look for its free space")

    def get(self, sha256: str, into: Path) -> None:
        """Write the object's bytes to the new file *into*, checked.

        Raises:
            CorruptError: If they do not have this hash.
            NotFoundError: If there is none.
        """
        digest = hashlib.sha256()
        with _told("read"):
            try:
                with self._files.open(f"{self._root}/{_place(sha256)}", "rb") as source, into.open("xb") as target:
                    while chunk := source.read(_CHUNK_BYTES):
                        digest.update(chunk)
                        target.write(chunk)
            except FileNotFoundError:
                raise NotFoundError("file of the backup", sha256) from None
        if digest.hexdigest() != sha256:
            raise CorruptError(
                f"The backup's file {sha256} is damaged: use another backup, or another copy of this one"
            )

    def drop(self, sha256: str) -> None:
        """Remove an object."""
        with _told("written"):
            self._files.rm_file(f"{self._root}/{_place(sha256)}")

    def note(self, time: str, content: bytes) -> str:
        """Write what belongs together, and return its name: the backup is whole with this.

        Args:
            time: When it was begun, as `20261122T081500.000000Z`.
            content: What `read` gives back.
        """
        name = f"{time}-{hashlib.sha256(content).hexdigest()[:_TAIL]}"
        with _told("written"):
            self._write(f"backups/{name}.json", content)
        return name

    def notes(self) -> list[str]:
        """Return the names of what was noted, the oldest first; whether one can be read `read` finds out."""
        with _told("read"):
            found = self._files.find(f"{self._root}/backups")
        return sorted(match[1] for path in found if (match := _NOTE.fullmatch(str(path).rpartition("/")[2])))

    def read(self, name: str) -> bytes:
        """Return a note.

        Raises:
            CorruptError: If it was cut off or changed.
            NotFoundError: If there is none of this name.
        """
        with _told("read"):
            try:
                content = bytes(self._files.cat_file(f"{self._root}/backups/{name}.json"))
            except FileNotFoundError:
                raise NotFoundError("backup", name, known=self.notes()) from None
        if hashlib.sha256(content).hexdigest()[:_TAIL] != name.rpartition("-")[2]:
            raise CorruptError(f"The backup {name} was cut off or changed: use another one")
        return content

    def forget(self, name: str) -> None:
        """Remove a note."""
        with _told("written"):
            self._files.rm_file(f"{self._root}/backups/{name}.json")

    def _write(self, name: str, content: bytes) -> None:
        if self.folder is not None:
            with self._written(self.folder / name) as target:
                target.write(content)
            return
        self._files.makedirs(f"{self._root}/{name}".rpartition("/")[0], exist_ok=True)
        self._files.pipe_file(f"{self._root}/{name}", content)

    def _written(self, target: Path) -> AbstractContextManager[BinaryIO]:
        """Give a file that gets its name once it is whole and on the disk."""
        target.parent.mkdir(mode=_OWNER_ALONE, parents=True, exist_ok=True)
        return written(target, mode=0o600)


@contextmanager
def _told(what: str) -> Iterator[None]:
    """Tell of a failure in our words: a URL may hold a password, and an exception's text the URL."""
    try:
        yield
    except ImportError as error:
        raise StoreError(f"Backups of this kind of URL need a package that is not installed: {error.name}") from None
    except (OSError, ValueError) as error:
        number = error.errno if isinstance(error, OSError) else None
        reason = os.strerror(number) if number else type(error).__name__
        raise StoreError(f"The place for backups could not be {what} ({reason})") from None


def _place(sha256: str) -> str:
    if not _SHA256.fullmatch(sha256):
        raise NotFoundError("file of the backup", sha256)
    return f"objects/{sha256[:2]}/{sha256}"

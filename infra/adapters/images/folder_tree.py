"""The files below a folder: every look at it, and every path that a caller names, goes through here."""

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from configs.errors import ReadOnlyStoreError, StoreError, is_full
from infra.adapters.images.files import sweep
from infra.adapters.images.folder_layout import OURS, THEIRS

_READ_ONLY = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})
_NOT_THERE = frozenset({errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP})
_OF_THE_DISK = "lost+found"  # at the top of many a volume, and readable by nobody
Entry = os.DirEntry[str]


class FolderTree:
    """A folder whose files may be named by paths below it, and no others.

    Args:
        root: The folder, resolved.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def walk(self, top: PurePosixPath, endings: tuple[str, ...]) -> Iterator[tuple[PurePosixPath, Entry, str]]:
        """Yield (folder relative to the root, entry, ending) for every file with one of the endings."""
        for folder, entries in self.folders(top):
            for entry, ending in best(entries, endings):
                yield folder, entry, ending

    def folders(self, top: PurePosixPath) -> Iterator[tuple[PurePosixPath, list[Entry]]]:
        """Yield every folder with its files; of the root without what holds labels."""
        waiting = [top]
        while waiting:
            folder = waiting.pop()
            files = []
            # One look at each file, from the folder's own list: on a network file system each further one is a round
            # trip.
            for entry in self._scan(folder):
                if entry.is_dir(follow_symlinks=False):
                    if folder / entry.name not in {THEIRS, OURS.parent}:
                        waiting.append(folder / entry.name)
                elif self._is_file(folder, entry):
                    files.append(entry)
            yield folder, files

    def files_in(self, folder: PurePosixPath) -> list[Entry]:
        """Return a folder's files; none if there is no such folder, or a link leads to it."""
        try:
            if not all(map(is_there, folder.parts)) or (self.root / folder).resolve() != self.root / folder:
                return []
            return [entry for entry in self._scan(folder) if self._is_file(folder, entry)]
        except RuntimeError:  # links in a circle
            return []
        except OSError as error:
            if error.errno in _NOT_THERE:
                return []
            raise

    def _scan(self, folder: PurePosixPath) -> list[Entry]:
        try:
            with os.scandir(self.root / folder) as scanned:
                entries = list(scanned)
        except FileNotFoundError:
            self.check_there()
            return []
        for entry in entries:
            sweep(entry)
        return sorted((entry for entry in entries if is_there(entry.name)), key=lambda entry: entry.name)

    def check_there(self) -> None:
        """Raise FileNotFoundError if the root itself is gone: a disk that is unmounted does not say its images are."""
        self.root.stat()

    def _is_file(self, folder: PurePosixPath, entry: Entry) -> bool:
        if entry.is_symlink() and self.resolved(str(folder / entry.name)) is None:
            return False
        try:
            return stat.S_ISREG(entry.stat().st_mode)  # which the entry keeps: what goes now was there
        except FileNotFoundError:
            return False

    def resolved(self, relative: str) -> Path | None:
        """Return the file of this relative path, or None if there is none inside the root."""
        pure = PurePosixPath(relative)
        if not is_plain(relative) or not all(map(is_there, pure.parts)):
            return None
        try:
            path = (self.root / pure).resolve(strict=True)
        except (OSError, RuntimeError):  # not there, a name too long, or links in a circle
            return None
        return path if path.is_relative_to(self.root) and path.is_file() else None


def best(entries: Sequence[Entry], endings: tuple[str, ...]) -> Iterator[tuple[Entry, str]]:
    """Yield the files with one of the endings; of one name with several the one whose ending comes first."""
    found: dict[str, tuple[Entry, str]] = {}
    for entry in entries:
        ending = next((ending for ending in endings if entry.name.endswith(ending)), None)
        if ending is None:
            continue
        stem = entry.name.removesuffix(ending)
        if stem not in found or endings.index(ending) < endings.index(found[stem][1]):
            found[stem] = (entry, ending)
    yield from found.values()


def is_there(name: str) -> bool:
    """Whether a file's name counts: a name that is no UTF-8 could be neither kept nor asked for."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return not name.startswith(".") and name != _OF_THE_DISK


def is_plain(relative: str) -> bool:
    """Whether a relative path names each of its folders once, plainly, and goes only down."""
    return (
        bool(relative)
        and "\0" not in relative
        and str(PurePosixPath(relative)) == relative
        and not relative.startswith("/")
    )


@contextmanager
def translated(doing: str) -> Iterator[None]:
    """Turn the operating system's refusals into ours, without the path: it may hold a patient's name."""
    try:
        yield
    except OSError as error:
        if doing == "read" and is_full(error):
            raise  # the folder is fine: there is no room for its copy
        reason = os.strerror(error.errno) if error.errno else type(error).__name__
        msg = f"Could not {doing} the data set's folder ({reason}): check that it is mounted and its permissions"
        if doing == "write" and error.errno in _READ_ONLY:
            raise ReadOnlyStoreError(msg) from None
        raise StoreError(msg) from None
    except RuntimeError:  # what pathlib makes of links in a circle
        raise StoreError(f"Could not {doing} the data set's folder: its links go in a circle") from None

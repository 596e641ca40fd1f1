"""This host's cache: an entry is a folder, filled once by whoever comes first, gone when room is needed.

<cache>/<kind>/<2 hex>/<64 hex>/…   one entry; the name is the hash of the caller's key
  .unsynced-<boot> or .synced       in it: whether a power cut may take of it what only memory holds
<cache>/<kind>/<2 hex>/.<64 hex>…   being filled or being removed: not there for anybody else
<cache>/locks/<kind>-<64 hex>       held alone while an entry is filled or removed, shared while it is looked up
<cache>/pins/<pin>                  entries in use, one a line; locked by the process that uses them
<cache>/evict.lock  total           who counts and evicts; bytes as counted so far

Nobody waits for the disk: an entry is used as soon as it is filled, and synced behind. Killed processes lose nothing by
that. What a power cut may have damaged was not marked as synced and is of another boot: it is filled again.
"""

import errno
import hashlib
import logging
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Literal, Protocol, get_args

from configs.durable import sync_file, sync_folder
from configs.errors import StorageFullError, is_full
from infra.adapters.cache.locks import locked, try_lock

Kind = Literal["raw", "tensor", "prediction"]
SYNCED = ".synced"
_BOOT = Path("/proc/sys/kernel/random/boot_id")
_LOST = frozenset({errno.EIO, errno.ENOSPC, errno.EDQUOT})
"""What a sync raises where the disk has not taken what memory had for it."""
_CANNOT = frozenset({errno.EINVAL, errno.ENOTSUP})
_log = logging.getLogger(__name__)
EVICT_TO = 0.9
"""Share of the allowed bytes that eviction leaves, so that it does not run at every fill."""


class Cache(Protocol):
    """What gives entries: the cache itself, or a pin of it."""

    def get(self, kind: Kind, key: str, fill: Callable[[Path], None]) -> Path:
        """Return the entry's folder, filled."""


class DiskCache:
    """A cache in one folder, shared by every process of this host.

    Args:
        folder: Made if it is missing. Local disk: the locks are this host's.
        max_bytes: Entries are evicted, least recently used first, when together they take more.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._unsynced = f".unsynced-{_BOOT.read_text().strip()}" if _BOOT.exists() else None
        self._behind = ThreadPoolExecutor(1, "cache-sync")

    def get(self, kind: Kind, key: str, fill: Callable[[Path], None]) -> Path:
        """Return the entry's folder; `fill` is called with an empty folder if there is no entry yet.

        The folder may be evicted at any time after: use a `pin` for what has to stay. If `fill` raises, there is no
        entry and the error goes on to the caller; others who wait for the same entry then try themselves.
        """
        return self._get(kind, _name(key), fill, pin=None)

    @contextmanager
    def pin(self) -> Iterator["Pin"]:
        """Open a pin: what is got through it stays until the block ends, or this process does."""
        path = self._folder / "pins" / uuid.uuid4().hex
        with locked(path):
            try:
                yield Pin(self, path)
            finally:
                path.unlink(missing_ok=True)

    def find(self, kind: Kind, key: str) -> Path | None:
        """Return the entry's folder if it is filled."""
        entry = self._entry(kind, _name(key))
        return entry if self._is_whole(entry) else None

    def settle(self) -> None:
        """Wait until all that was filled by this object so far is on the disk."""
        self._behind.submit(int).result()  # there is one thread, and it goes in order

    def drop(self, kind: Kind, key: str) -> None:
        """Remove the entry now, whoever may be using it; those who have its files open can finish reading."""
        name = _name(key)
        with locked(self._lock(kind, name)):
            self._remove(kind, name)

    def drop_where(self, kind: Kind, matches: Callable[[Path], bool]) -> None:
        """Remove the entries of a kind whose folder *matches*, as `drop` does."""
        for entry in (self._folder / kind).glob("*/*"):
            if not entry.name.startswith(".") and matches(entry):
                with locked(self._lock(kind, entry.name)):
                    self._remove(kind, entry.name)

    def _get(self, kind: Kind, name: str, fill: Callable[[Path], None], *, pin: Path | None) -> Path:
        entry, lock = self._entry(kind, name), self._lock(kind, name)
        # Shared first: an entry that is there, as most are, is looked up by any number at once.
        with locked(lock, shared=True):
            if self._use(entry, pin):
                return entry
        with locked(lock):
            if self._use(entry, pin):
                return entry
            self._remove(kind, name)  # what a power cut left of it
            size = self._fill(entry, fill)
            self._use(entry, pin)
        self._count(size, entry)
        with suppress(RuntimeError):  # this process ends
            self._behind.submit(self._sync, kind, name)
        return entry

    def _is_whole(self, entry: Path) -> bool:
        """Say whether an entry holds all that it was filled with."""
        unsynced = self._unsynced is not None and (entry / self._unsynced).exists()
        return unsynced or (entry / SYNCED).exists()

    def _sync(self, kind: Kind, name: str) -> None:
        """Make an entry durable and mark it; one that the disk does not take is given up, unless somebody uses it."""
        entry, unsynced = self._entry(kind, name), self._unsynced or SYNCED
        try:
            synced = os.open(entry, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                _sync_tree(entry)
                with locked(self._lock(kind, name), shared=True):
                    # Meanwhile it may have been removed, and filled again: that one is another.
                    if os.path.samestat(os.fstat(synced), entry.stat()):
                        (entry / unsynced).rename(entry / SYNCED)
            finally:
                os.close(synced)
        except FileNotFoundError:
            return
        except OSError as error:
            _tell_once(error.errno)
            if error.errno in _LOST:
                with locked(self._folder / "evict.lock"):
                    self._evict_one(entry)

    def _use(self, entry: Path, pin: Path | None) -> bool:
        """Mark a filled entry as used now; under its lock, so that no evictor is between looking and removing."""
        if not self._is_whole(entry):
            return False
        os.utime(entry)
        if pin is not None:
            with pin.open("a") as lines:
                lines.write(f"{entry.relative_to(self._folder)}\n")
        return True

    def _fill(self, entry: Path, fill: Callable[[Path], None]) -> int:
        """Fill an entry; where the disk is full, once more after everything that nobody uses was given up for it."""
        try:
            return self._fill_once(entry, fill)
        except OSError as error:
            if not is_full(error):
                raise
        self._make_room(entry)
        try:
            return self._fill_once(entry, fill)
        except OSError as error:
            if not is_full(error):
                raise
            raise StorageFullError("This host's cache has no room on its disk: free some, or move the cache") from None

    def _make_room(self, keep: Path) -> None:
        with locked(self._folder / "evict.lock"):
            for _, _, entry in sorted(self._entries()):
                if entry != keep:
                    self._evict_one(entry)

    def _fill_once(self, entry: Path, fill: Callable[[Path], None]) -> int:
        partial = entry.parent / f".{entry.name}.{uuid.uuid4().hex}"
        partial.mkdir(parents=True)
        try:
            fill(partial)
            if self._unsynced is None:  # a system that does not say which boot this is
                _sync_tree(partial)
            (partial / (self._unsynced or SYNCED)).touch()
            size = _tree_bytes(partial)
            partial.rename(entry)
        except BaseException:  # it goes on up; half an entry would take room that nobody counts
            shutil.rmtree(partial, ignore_errors=True)
            raise
        return size

    def _count(self, added: int, new: Path) -> None:
        """Add to the total; when it is too much, count what is really there and evict, but never the new entry."""
        with locked(self._folder / "evict.lock"):
            total_file = self._folder / "total"
            total = added + (int(total_file.read_text() or 0) if total_file.exists() else 0)
            if total > self._max_bytes:
                total = self._evict(keep=new)
            total_file.write_text(str(total))

    def _evict(self, keep: Path) -> int:
        """Remove the least recently used entries that nobody uses; return the bytes that stay."""
        entries = sorted(self._entries())
        total = sum(size for _, size, _ in entries)
        for _, size, entry in entries:
            if total <= self._max_bytes * EVICT_TO:
                break
            if entry != keep and self._evict_one(entry):
                total -= size
        return total

    def _evict_one(self, entry: Path) -> bool:
        kind, name = _kind_of(entry, self._folder), entry.name
        lock = self._lock(kind, name)
        handle = try_lock(lock)
        if handle is None:
            return False
        try:
            if str(entry.relative_to(self._folder)) in self._pinned():
                return False
            self._remove(kind, name)
            # While it is held: who waits for it finds that its name leads elsewhere, and takes the next one.
            lock.unlink(missing_ok=True)
        finally:
            os.close(handle)
        return True

    def _pinned(self) -> set[str]:
        pinned: set[str] = set()
        for path in (self._folder / "pins").glob("*"):
            handle = try_lock(path)
            if handle is None:
                with suppress(FileNotFoundError):  # closed meanwhile
                    pinned.update(path.read_text().splitlines())
            else:
                path.unlink(missing_ok=True)  # its process died
                os.close(handle)
        return pinned

    def _remove(self, kind: Kind, name: str) -> None:
        entry = self._entry(kind, name)
        gone = entry.parent / f".{name}.{uuid.uuid4().hex}"
        try:
            entry.rename(gone)
        except FileNotFoundError:
            return
        shutil.rmtree(gone, ignore_errors=True)

    def _entries(self) -> Iterator[tuple[int, int, Path]]:
        """Yield (time of last use in ns, bytes, folder); removes what a killed process left half-filled."""
        for kind in get_args(Kind):
            for path in (self._folder / kind).glob("*/*"):
                if path.name.startswith("."):
                    self._sweep(kind, path)
                    continue
                try:
                    yield path.stat().st_mtime_ns, _tree_bytes(path), path
                except FileNotFoundError:
                    continue  # dropped by somebody while we counted

    def _sweep(self, kind: Kind, partial: Path) -> None:
        handle = try_lock(self._lock(kind, partial.name.split(".")[1]))
        if handle is not None:
            shutil.rmtree(partial, ignore_errors=True)
            os.close(handle)

    def _entry(self, kind: Kind, name: str) -> Path:
        return self._folder / kind / name[:2] / name

    def _lock(self, kind: Kind, name: str) -> Path:
        return self._folder / "locks" / f"{kind}-{name}"


class Pin:
    """Gives entries that stay until the pin is closed. Made by `DiskCache.pin`."""

    def __init__(self, cache: DiskCache, path: Path) -> None:
        self._cache = cache
        self._path = path

    def get(self, kind: Kind, key: str, fill: Callable[[Path], None]) -> Path:
        """Return the entry's folder, as `DiskCache.get` does, and keep it."""
        return self._cache._get(kind, _name(key), fill, pin=self._path)  # noqa: SLF001 - the cache's other half


def _name(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def _kind_of(entry: Path, folder: Path) -> Kind:
    first = entry.relative_to(folder).parts[0]
    return next(kind for kind in get_args(Kind) if kind == first)


def _tree_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _sync_tree(folder: Path) -> None:
    """Make the tree durable, but for its own name: an entry whose name a power cut takes is filled again."""
    for path in (*folder.rglob("*"), folder):
        try:
            (sync_file if path.is_file() else sync_folder)(path)
        except OSError as error:
            if error.errno not in _CANNOT:
                raise
            _tell_once(error.errno)  # not on this file system: it is as durable there as anything can be


@cache
def _tell_once(number: int | None) -> None:
    """Tell the log by its name of what keeps entries from being synced; a path may name a patient."""
    name = errno.errorcode.get(number or 0, "an error without a number")
    _log.warning("The cache's disk does not sync (%s): a power cut may cost what was cached", name)

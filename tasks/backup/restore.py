"""Put a backup into an empty home: every file is checked by its hash, and the catalog comes last.

A file in the home says that a restore is under way, from the first write to the last: until it is gone nothing starts
on this home, and the same restore may be asked for again, which goes on with what is there.
"""

import shutil
import tempfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath

from pydantic import BaseModel, ConfigDict

from configs.durable import sync_file, sync_folder, written
from configs.errors import ConflictError, CorruptError, InvalidRequestError, NotFoundError
from configs.failpoints import fail_point
from infra.adapters.artifacts.depot import Depot
from infra.adapters.catalog.copies import load_copy, refuse_filled, refuse_newer
from infra.adapters.security.vault import Vault, copy_ring
from infra.wiring import RESTORING, Parts
from tasks.backup import contents
from tasks.backup.contents import Contents, Stored, owner_of
from tasks.bundles.unpack import unpack

# A depot far away answers each file late; hashing them keeps the processors busy meanwhile.
_AT_ONCE = 8
_OUR_OWN = frozenset({"up.lock", "work", RESTORING})  # what a restore itself makes in an empty home


class Restored(BaseModel):
    """What was put back."""

    model_config = ConfigDict(frozen=True)

    name: str
    at: float
    files: int
    size: int
    missing: list[str]


def restore(parts: Parts, url: str, *, name: str = "", key_file: Path | None = None) -> Restored:
    """Put a backup into the home of these parts.

    Args:
        parts: Opened for restoring; nothing runs on them.
        url: Where backups are.
        name: Which one; empty = the newest that is whole.
        key_file: The key ring, where the backup has none.

    Raises:
        ConflictError: If the home, the artifacts or the catalog are not empty.
        CorruptError: If a file does not have its hash: nothing starts on this home.
        InvalidRequestError: If a later version made the backup, or the key file does not fit.
        NotFoundError: If there is no such backup.
    """
    depot = Depot(url)
    name, found = _chosen(depot, name)
    refuse_newer(found.revision)
    _refuse_filled(parts, name)
    _mark(parts.settings.home, name)
    work = parts.settings.home / "work"
    work.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=work, prefix="restore-") as scratch:
        putting = _Putting(parts, depot, Path(scratch))
        putting.keys(found, key_file)
        putting.blobs(found.blobs)
        for bundle, files in found.bundles.items():
            putting.bundle(bundle, files)
        putting.events(found.events)
        fail_point(parts.settings, "restore-files")
        putting.catalog(found.catalog)
    (parts.settings.home / RESTORING).unlink()
    sync_folder(parts.settings.home)
    objects = found.objects()
    return Restored(name=name, at=found.at, files=len(objects), size=sum(objects.values()), missing=list(found.missing))


class _Putting:
    """One restore while it goes on."""

    def __init__(self, parts: Parts, depot: Depot, scratch: Path) -> None:
        self._parts, self._depot, self._scratch = parts, depot, scratch

    def keys(self, found: Contents, key_file: Path | None) -> None:
        """Put the key ring to where the settings have it; one that is there already has to be the same."""
        target = self._parts.settings.key_path
        ring = self._scratch / "keys.json"
        if target.exists():
            ring = target
        elif found.keys is not None:
            self._get(found.keys, ring, mode=0o600)
        elif key_file is not None:
            shutil.copyfile(key_file, ring)
            ring.chmod(0o600)
        else:
            raise InvalidRequestError(
                "The backup was made without keys: name the installation's key file with --key-file"
            )
        if self._depot.owner() != owner_of(Vault(ring)):
            raise InvalidRequestError("The key file is of another installation than the backup: give the right one")
        if ring != target:
            copy_ring(ring, target)

    def blobs(self, wanted: Mapping[str, int]) -> None:
        """Fetch the blobs that are not there from an earlier try."""
        there = set(self._parts.blobs.hashes())
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            list(pool.map(self._blob, sorted(set(wanted) - there)))

    def bundle(self, bundle: str, files: Mapping[str, Stored]) -> None:
        """Unpack a bundle as it was registered."""
        final = self._parts.settings.home / "bundles" / bundle
        if final.exists():
            return
        folder = self._scratch / bundle
        for name, stored in files.items():
            if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
                raise CorruptError(f"The backup names a file outside the bundle {bundle}: use another backup")
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            self._get(stored, folder / name)
        identity, _ = unpack(folder, final.parent)
        if identity != bundle:
            raise CorruptError(f"The bundle {bundle} does not have the content that it is named by: use another backup")

    def events(self, wanted: Mapping[str, Stored]) -> None:
        """Put back what MLflow can be filled from."""
        for place, stored in wanted.items():
            job, _, attempt = place.partition("/")
            target = self._parts.blobs.attempt_folder(job, int(attempt)) / "events.jsonl"
            target.unlink(missing_ok=True)
            self._get(stored, target)

    def catalog(self, stored: Stored) -> None:
        """Put back the catalog, whole or not at all."""
        if not self._parts.catalog.is_sqlite:
            file = self._scratch / "catalog.db"
            self._get(stored, file)
            load_copy(file, self._parts.catalog)
            return
        final = Path(self._parts.catalog.url.database or "")
        final.parent.mkdir(parents=True, exist_ok=True)
        beside = final.with_name(f".{final.name}.restoring")  # its folder may be on another disk than the home
        beside.unlink(missing_ok=True)
        self._get(stored, beside, mode=0o600)
        beside.rename(final)
        sync_folder(final.parent)

    def _blob(self, sha256: str) -> None:
        file = self._scratch / sha256
        self._depot.get(sha256, file)
        self._parts.blobs.put_file(file)
        file.unlink()

    def _get(self, stored: Stored, target: Path, *, mode: int = 0o644) -> None:
        self._depot.get(stored.sha256, target)
        target.chmod(mode)
        sync_file(target)


def _chosen(depot: Depot, name: str) -> tuple[str, Contents]:
    if name:
        return name, contents.read(depot, name)
    found = contents.newest(depot)
    if found is None:
        raise NotFoundError("backup", "that is whole")
    return found


def _refuse_filled(parts: Parts, name: str) -> None:
    """Refuse to put a backup over anything, but for what an earlier try at the same one has left."""
    home = parts.settings.home
    mark = home / RESTORING
    if mark.exists():
        if mark.read_text() != name:
            raise ConflictError(
                f"A restore of {mark.read_text()} into this home did not end: name that one, or empty it"
            )
        return
    if others := sorted(entry.name for entry in home.iterdir() if entry.name not in _OUR_OWN):
        raise ConflictError(f"The home is not empty, it has {others[0]!r}: name a new one, nothing is written over")
    if next(iter(parts.blobs.hashes()), None) is not None:
        raise ConflictError("The folder of artifacts is not empty: name a new one with TEACHBACK_ARTIFACTS")
    refuse_filled(parts.catalog)


def _mark(home: Path, name: str) -> None:
    with written(home / RESTORING) as file:
        file.write(name.encode())

"""Copy an installation elsewhere while it works.

The catalog goes first and the files after it: blobs and bundles never change and are there before a row names them, so
whatever the copied rows name is found. Only a purge can remove a named blob, and takes the name away before: then the
catalog is copied once more. The note that makes the backup whole is written last.
"""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from pydantic import BaseModel, ConfigDict
from sqlalchemy import select

from configs.errors import ConflictError, CorruptError, InvalidRequestError, NotFoundError
from configs.failpoints import fail_point
from infra.adapters.artifacts.depot import Depot
from infra.adapters.cache.locks import try_lock
from infra.adapters.catalog.blobs import named
from infra.adapters.catalog.copies import save_copy
from infra.adapters.catalog.session import Catalog
from infra.adapters.catalog.tables import Attempt, Bundle
from infra.wiring import Parts
from tasks.backup import contents
from tasks.backup.contents import Contents, Stored

_AT_ONCE = 8  # an object store answers slowly, and several questions at once
_TRIES = 3


class Taken(BaseModel):
    """What was copied."""

    model_config = ConfigDict(frozen=True)

    name: str
    files: int
    size: int
    new_files: int
    new_size: int
    missing: list[str]
    removed: int = 0


def take(parts: Parts, url: str, *, with_keys: bool = True, keep: int | None = None) -> Taken:
    """Copy everything that is worth it to *url*; what is there already is not copied again.

    Args:
        parts: The installation, which may be at work.
        url: A folder, or a URL that fsspec writes to.
        with_keys: Whether the key ring goes, too; without it the backup is of no use without the key file.
        keep: How many backups are to be left there; None = all.

    Raises:
        ConflictError: If another backup of this installation runs, or another installation's are there.
        CorruptError: If the catalog's database is damaged.
        InvalidRequestError: If the place lies in the installation itself.
        StoreError: If the place cannot be written.
    """
    depot = Depot(url)
    _refuse_inside(parts, depot)
    with _alone(parts.settings.home), _scratch(parts.settings.home) as folder:
        owner = contents.owner_of(parts.vault)
        if depot.owner() not in {"", owner}:
            raise ConflictError("Backups of another installation are there: give each installation a place of its own")
        depot.claim(owner)
        taking = _Taking(parts, depot, folder)
        began = datetime.now(UTC)
        made = taking.everything(began.timestamp(), with_keys=with_keys)
        fail_point(parts.settings, "backup-copied")
        name = depot.note(f"{began:%Y%m%dT%H%M%S.%fZ}", made.model_dump_json().encode())
        removed = _prune(depot, keep) if keep is not None else 0
    objects = made.objects()
    return Taken(
        name=name,
        files=len(objects),
        size=sum(objects.values()),
        new_files=len(taking.put),
        new_size=sum(taking.put.values()),
        missing=made.missing,
        removed=removed,
    )


class _Taking:
    """One backup while it is made; `put` = what was copied by it."""

    def __init__(self, parts: Parts, depot: Depot, folder: Path) -> None:
        self._parts, self._depot, self._folder = parts, depot, folder
        self._known = depot.sizes()
        self.put: dict[str, int] = {}

    def everything(self, at: float, *, with_keys: bool) -> Contents:
        """Copy the catalog, then what it names; again where a purge came in between."""
        missing: set[str] | None = None
        for _ in range(_TRIES):
            file = self._folder / "catalog.db"
            file.unlink(missing_ok=True)
            revision = save_copy(self._parts.catalog, file)
            copy = Catalog(f"sqlite+pysqlite:///{file}")
            blobs = self._blobs()
            with copy.read() as session:
                before, missing = missing, named(session) - set(blobs)
                bundle_ids = session.scalars(select(Bundle.id)).all()
                attempts = [(row.job_id, row.n) for row in session.scalars(select(Attempt))]
            copy.close()
            if not missing or missing == before:
                break
        bundles, unpacked_nowhere = self._bundles(bundle_ids)
        return Contents(
            at=at,
            teachback=version("teachback"),
            revision=revision,
            catalog=self._copied(file),
            keys=self._keys() if with_keys else None,
            blobs=blobs,
            bundles=bundles,
            events=self._events(attempts),
            missing=[*sorted(missing or ()), *unpacked_nowhere],
        )

    def _blobs(self) -> dict[str, int]:
        """Copy what is not there yet. A damaged blob is left out: the backup before may have it whole."""
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            found = pool.map(self._blob, sorted(self._parts.blobs.hashes()))
            return {stored.sha256: stored.size for stored in found if stored is not None}

    def _blob(self, sha256: str) -> Stored | None:
        try:
            if self._known.get(sha256) == (size := self._parts.blobs.size(sha256)):
                return Stored(sha256=sha256, size=size)
            return self._put(sha256, self._parts.blobs.path(sha256))
        except (NotFoundError, CorruptError, FileNotFoundError):
            return None

    def _bundles(self, ids: Iterable[str]) -> tuple[dict[str, dict[str, Stored]], list[str]]:
        """Copy the unpacked bundles; what the backup before has of one is not read again, for it never changes."""
        before = contents.newest(self._depot)
        old: Mapping[str, dict[str, Stored]] = before[1].bundles if before else {}
        found: dict[str, dict[str, Stored]] = {}
        missing = []
        for bundle in ids:
            folder = self._parts.settings.home / "bundles" / bundle
            files = old.get(bundle, {})
            if not files or any(self._known.get(stored.sha256) != stored.size for stored in files.values()):
                paths = sorted(path for path in folder.rglob("*") if path.is_file())
                files = {path.relative_to(folder).as_posix(): self._copied(path) for path in paths}
            if files:
                found[bundle] = files
            else:
                missing.append(f"bundle {bundle}")
        return found, missing

    def _events(self, attempts: Iterable[tuple[str, int]]) -> dict[str, Stored]:
        """Copy what trainings said, from which MLflow can be filled again. One that runs goes on writing."""
        found = {}
        for job, n in attempts:
            path = self._parts.blobs.attempt_folder(job, n) / "events.jsonl"
            if path.is_file():
                still = self._folder / f"{job}-{n}.jsonl"
                shutil.copyfile(path, still)
                found[f"{job}/{n}"] = self._copied(still)
        return found

    def _keys(self) -> Stored:
        still = self._folder / "keys.json"
        shutil.copy2(self._parts.settings.key_path, still)  # a rotation in between replaces the file
        return self._copied(still)

    def _copied(self, path: Path) -> Stored:
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        return self._put(sha256, path)

    def _put(self, sha256: str, path: Path) -> Stored:
        size = path.stat().st_size
        if self._known.get(sha256) != size and sha256 not in self.put:
            self._depot.put(sha256, path)
            self.put[sha256] = size
        return Stored(sha256=sha256, size=size)


def _prune(depot: Depot, keep: int) -> int:
    """Remove all backups but the newest *keep*, and what only they needed; return how many objects went.

    One that this version cannot read stays, with everything that is there: what it needs is not known.
    """
    names = depot.notes()
    for name in names[: max(0, len(names) - keep)]:
        depot.forget(name)
    needed: set[str] = set()
    for name in depot.notes():
        try:
            needed |= set(contents.read(depot, name).objects())
        except (CorruptError, InvalidRequestError):
            return 0
    unneeded = sorted(set(depot.sizes()) - needed)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        list(pool.map(depot.drop, unneeded))
    return len(unneeded)


def _refuse_inside(parts: Parts, depot: Depot) -> None:
    if depot.folder is None:
        return
    target = depot.folder.resolve()
    for own in (parts.settings.home, parts.settings.artifacts_dir):
        if target.is_relative_to(own.resolve()):
            raise InvalidRequestError("A backup inside the installation goes with it: name a place on another disk")


@contextmanager
def _alone(home: Path) -> Iterator[None]:
    """Keep a second backup from counting on what this one is about to remove."""
    handle = try_lock(home / "backup.lock")
    if handle is None:
        raise ConflictError("Another backup of this installation runs: wait for its end")
    try:
        yield
    finally:
        os.close(handle)


@contextmanager
def _scratch(home: Path) -> Iterator[Path]:
    work = home / "work"
    work.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=work, prefix="backup-") as folder:
        yield Path(folder)

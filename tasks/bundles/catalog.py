"""Registered bundles: unpacked on this host, examined once, and known by the hash of their content."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from pydantic import BaseModel, ConfigDict, ValidationError

from configs.errors import ForbiddenError, InvalidRequestError, NotFoundError
from configs.wire.check import CheckResult
from infra.adapters.catalog.locks import one_by_one
from infra.adapters.catalog.tables import Bundle
from infra.adapters.catalog.tables.base import new_id
from infra.wiring import Parts
from tasks.bundles.examine import examine
from tasks.bundles.source import at_hand, is_address, shown
from tasks.bundles.unpack import make_writable, unpack
from tasks.bundles.waiting import waits


class _Metadata(BaseModel):
    """What we show of a bundle's metadata."""

    model_config = ConfigDict(extra="ignore", coerce_numbers_to_str=True)

    name: str = ""
    version: str = "0.0.0"
    description: str = ""


def register(parts: Parts, source: str, *, by: str) -> Bundle:
    """Unpack a bundle, run it once in a bundle host to see what it is, and note it. Registering it again is no work.

    Args:
        parts: The adapters.
        source: A folder or archive of this machine, by its absolute path, or an archive's address.
        by: Who registers it.

    Raises:
        BundleError: If it does not run, or has no weights and no `weights: random(seed)`.
        ForbiddenError: If it may not come from there, or there is no cage to keep its code in.
        InvalidRequestError: If there is none, or the archive is not acceptable.
    """
    with trusted(parts, source) as folder:
        return register_folder(parts, folder, source=shown(source), by=by)


def register_folder(parts: Parts, folder: Path, *, source: str, by: str) -> Bundle:
    """Register a bundle that is at hand: a folder or archive. *source* is what is noted of where it came from.

    Raises: as `register`.
    """
    sha256, unpacked = unpack(folder, parts.settings.home / "bundles")
    with parts.catalog.read() as session:
        known = session.get(Bundle, sha256)
    if known is not None and known.removed_at is None:
        return known
    check = waits(unpacked) or examine(parts.hosts, unpacked, parts.settings.home / "work" / f"check-{new_id()}")
    bundle = _row(sha256, _metadata(unpacked), _stem(folder), check)
    bundle.source, bundle.registered_by = source, by
    with parts.catalog.write() as session:
        one_by_one(session, f"bundle/{sha256}")  # two processes that start at once both find it missing
        return session.merge(bundle)


def look_at(parts: Parts, source: str) -> Bundle:
    """Return what registering a bundle would note, and keep nothing of it; raises as `register`."""
    home = parts.settings.home / "work"
    home.mkdir(parents=True, exist_ok=True)
    with trusted(parts, source) as folder, TemporaryDirectory(dir=home, prefix="look-") as scratch:
        sha256, unpacked = unpack(folder, Path(scratch))
        try:
            check = waits(unpacked) or examine(parts.hosts, unpacked, Path(scratch) / "check")
            return _row(sha256, _metadata(unpacked), _stem(folder), check)
        finally:
            make_writable(Path(scratch))


def _row(sha256: str, metadata: _Metadata, stem: str, check: CheckResult) -> Bundle:
    return Bundle(
        id=sha256,
        name=_name(metadata.name) or stem,
        version=metadata.version,
        description=metadata.description,
        tier=check.tier,
        labels={str(index): name for index, name in check.labels.items()},
        check=check.model_dump(mode="json"),
        removed_at=None,
    )


def _metadata(folder: Path) -> _Metadata:
    try:
        return _Metadata.model_validate_json((folder / "configs" / "metadata.json").read_bytes())
    except ValidationError as error:
        raise InvalidRequestError("In configs/metadata.json name, version and description are texts") from error


def _name(written: str) -> str:
    """Return a bundle's own name as one word: the model zoo writes `Spleen CT segmentation`."""
    return re.sub(r"[^a-z0-9.-]+", "_", written.lower()).strip("_")


def _stem(path: Path) -> str:
    """Return what a folder or archive is called, without the version that the model zoo's archives have."""
    return _name(re.sub(r"(_v[0-9][0-9.]*)?(\.zip|\.tar|\.tgz|\.gz)*$", "", path.name)) or "bundle"


@contextmanager
def trusted(parts: Parts, source: str) -> Iterator[Path]:
    """Give a source as a path, unless there is nothing that would keep its code in; it is not fetched then, either.

    Raises:
        ForbiddenError: If there is no cage, or it may not come from there.
        InvalidRequestError: If there is none.
    """
    if is_address(source):
        _caged(parts)
    with at_hand(parts, source) as folder:
        if not folder.resolve().is_relative_to(parts.settings.bundles_dir.resolve()):
            _caged(parts)
        yield folder


def _caged(parts: Parts) -> None:
    if parts.hosts.level == "limits" and not parts.settings.uncaged_bundles:
        raise ForbiddenError(
            "This bundle does not come with the project, and no cage works here: its code would run as this user, with"
            " this user's files and network. Install bubblewrap; or, if you trust its code, set"
            " TEACHBACK_UNCAGED_BUNDLES=true"
        )


def bundle_folder(parts: Parts, bundle_id: str) -> Path:
    """Return a registered bundle's folder on this host.

    Raises:
        NotFoundError: If it is not unpacked here.
    """
    folder = parts.settings.home / "bundles" / bundle_id
    if not (folder / "configs" / "metadata.json").is_file():
        raise NotFoundError("bundle on this host", bundle_id)
    return folder

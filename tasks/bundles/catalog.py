"""Registered bundles: unpacked on this host, examined once, and known by the hash of their content."""

import json
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from configs.errors import BundleError, ForbiddenError, InvalidRequestError, NotFoundError
from infra.adapters.catalog.locks import one_by_one
from infra.adapters.catalog.tables import Bundle
from infra.adapters.catalog.tables.base import new_id
from infra.wiring import Parts
from tasks.bundles.register import examine
from tasks.bundles.unpack import unpack


class _Metadata(BaseModel):
    """What we show of a bundle's metadata."""

    model_config = ConfigDict(extra="ignore")

    name: str = ""
    version: str = "0.0.0"
    description: str = ""


def register(parts: Parts, folder: Path, *, by: str) -> Bundle:
    """Unpack a bundle, run it once in a bundle host to see what it is, and note it. Registering it again is no work.

    Args:
        parts: The adapters.
        folder: A folder or archive that holds the bundle.
        by: Who registers it.

    Raises:
        BundleError: If it does not run, or has no weights and no `weights: random(seed)`.
        ForbiddenError: If it comes from elsewhere and there is no cage to keep its code in.
        InvalidRequestError: If there is none, or the archive is not acceptable.
    """
    if not _is_there(folder):
        raise InvalidRequestError("There is no bundle of this name on the server's machine: give an absolute path")
    _trusted_or_caged(parts, folder)
    sha256, unpacked = unpack(folder, parts.settings.home / "bundles")
    with parts.catalog.read() as session:
        known = session.get(Bundle, sha256)
    if known is not None:
        return known
    check = examine(parts.hosts, unpacked, parts.settings.home / "work" / f"check-{new_id()}")
    if check.missing:
        raise BundleError(f"The bundle needs packages that are not installed: {', '.join(check.missing)}")
    metadata = _Metadata.model_validate(json.loads((unpacked / "configs" / "metadata.json").read_text()))
    bundle = Bundle(
        id=sha256,
        name=metadata.name or folder.name.removesuffix(".zip"),
        version=metadata.version,
        description=metadata.description,
        tier=check.tier,
        labels={str(index): name for index, name in check.labels.items()},
        check=check.model_dump(mode="json"),
        registered_by=by,
    )
    with parts.catalog.write() as session:
        one_by_one(session, f"bundle/{sha256}")  # two processes that start at once both find it missing
        return session.merge(bundle)


def _is_there(folder: Path) -> bool:
    try:
        return folder.exists()
    except (OSError, ValueError):  # a name that no file can have
        return False


def _trusted_or_caged(parts: Parts, folder: Path) -> None:
    settings = parts.settings
    shipped = folder.resolve().is_relative_to(settings.bundles_dir.resolve())
    if not shipped and parts.hosts.level == "limits" and not settings.uncaged_bundles:
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

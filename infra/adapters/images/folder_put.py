"""An image comes to a folder: whole or not at all, durable, and never in the place of what is there."""

import shutil
import uuid
from pathlib import Path, PurePosixPath

from configs.durable import sync_file, sync_folder
from configs.errors import ConflictError, InvalidRequestError, StoreError
from infra.adapters.images.files import create_exclusively, hash_file
from infra.adapters.images.folder_layout import is_image_key
from infra.adapters.images.folder_tree import is_plain, is_there

_LONGEST = 200
"""Bytes of a name; file systems take 255, endings among them."""


def put_image(root: Path, key: str, source: Path) -> None:
    """Make `<root>/<key>.<ending>` of a file, or `<root>/<key>/…` of a folder with a series' files.

    Safe to repeat: what is there with the same content stays.

    Raises:
        InvalidRequestError: If the id leads elsewhere, or means something else in a folder.
        ConflictError: If something else has this name.
        StoreError: If links lead out of the folder.
        OSError: If the folder cannot be written.
    """
    _check(key)
    ending = "" if source.is_dir() else source.name.removeprefix(source.name.partition(".")[0])
    target = root / f"{key}{ending}"
    if not target.parent.resolve().is_relative_to(root):
        raise StoreError("The image's folder leads out of the data set: remove the link")
    if source.is_dir():
        made = _create_folder(source, target)
        same = made or _hashes(source) == _hashes(target)
    else:
        made = create_exclusively(source, target)
        same = made or (target.is_file() and hash_file(source) == hash_file(target))
    if not same:
        raise ConflictError("There is an image of this id with other content: give another id, nothing is replaced")


def _check(key: str) -> None:
    parts = PurePosixPath(key).parts
    if not is_plain(key) or not all(map(is_there, parts)) or not is_image_key(key):
        raise InvalidRequestError(
            "An image's id is a relative path such as patient/scan: no part of it begins with a dot, and it does not"
            " lie in labels or teachback"
        )
    if any(len(part.encode()) > _LONGEST for part in parts):
        raise InvalidRequestError(f"A part of the image's id is longer than {_LONGEST} bytes: give a shorter one")


def _create_folder(source: Path, target: Path) -> bool:
    missing = [folder for folder in target.parents if not folder.exists()]
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.parent / f".{uuid.uuid4().hex}.tmp"  # nothing that begins with a dot is listed
    try:
        partial.mkdir()
        for file in sorted(source.iterdir()):
            shutil.copyfile(file, partial / file.name)
            sync_file(partial / file.name)
        sync_folder(partial)
        if target.exists():
            return False
        partial.rename(target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    for folder in {target.parent, *(folder.parent for folder in missing)}:
        sync_folder(folder)
    return True


def _hashes(folder: Path) -> list[str]:
    return sorted(hash_file(file) for file in folder.iterdir() if file.is_file()) if folder.is_dir() else []

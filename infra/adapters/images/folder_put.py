"""An image comes to a folder: whole or not at all, durable, and never in the place of what is there."""

import shutil
from pathlib import Path, PurePosixPath

from configs.durable import sync_file, sync_folder
from configs.errors import ConflictError, InvalidRequestError, StorageFullError, StoreError
from infra.adapters.images.files import create_exclusively, hash_file, partial_beside
from infra.adapters.images.folder_layout import is_image_key
from infra.adapters.images.folder_tree import is_plain, is_there

TAKEN = "There is an image of this id with other content: give another id, nothing is replaced"
_LONGEST = 200
"""Bytes of a name; file systems take 255, endings among them."""


def place_of(root: Path, key: str, source: Path) -> Path:
    """Return where an image comes to lie: `<root>/<key>.<ending>`, or `<root>/<key>` for a folder with a series' files.

    Raises:
        InvalidRequestError: If the id leads elsewhere, or means something else in a folder.
        StoreError: If links lead out of the folder.
    """
    _check(key)
    ending = "" if source.is_dir() else source.name.removeprefix(source.name.partition(".")[0])
    target = root / f"{key}{ending}"
    if not target.parent.resolve().is_relative_to(root):
        raise StoreError("The image's folder leads out of the data set: remove the link")
    return target


def put_image(source: Path, target: Path, keep_free_bytes: int) -> bool:
    """Make the file, or the folder; False if it is there with the same content.

    Args:
        source: What was sent.
        target: Its place.
        keep_free_bytes: What is to be left of the folder's disk.

    Raises:
        ConflictError: If something else has this name.
        StorageFullError: If it would leave less of the disk.
        OSError: If the folder cannot be written.
    """
    if not target.exists():
        _check_room(source, target, keep_free_bytes)
    if source.is_dir():
        made = _create_folder(source, target)
        same = made or _hashes(source) == _hashes(target)
    else:
        made = create_exclusively(source, target)
        same = made or (target.is_file() and hash_file(source) == hash_file(target))
    if not same:
        raise ConflictError(TAKEN)
    return made


def take_back(target: Path) -> None:
    """Remove what `put_image` made."""
    if target.is_dir():
        shutil.rmtree(target)
    else:
        target.unlink(missing_ok=True)


def _check(key: str) -> None:
    parts = PurePosixPath(key).parts
    if not is_plain(key) or not all(map(is_there, parts)) or not is_image_key(key):
        raise InvalidRequestError(
            "An image's id is a relative path such as patient/scan: no part of it begins with a dot, and it does not"
            " lie in labels or teachback"
        )
    if any(len(part.encode()) > _LONGEST for part in parts):
        raise InvalidRequestError(f"A part of the image's id is longer than {_LONGEST} bytes: give a shorter one")


def _check_room(source: Path, target: Path, keep_free_bytes: int) -> None:
    size = sum(file.stat().st_size for file in (source.iterdir() if source.is_dir() else [source]))
    there = next(folder for folder in target.parents if folder.is_dir())
    if shutil.disk_usage(there).free - size < keep_free_bytes:
        msg = f"The data set's disk would have less than {keep_free_bytes >> 20} MiB left: free some, and send it again"
        raise StorageFullError(msg)


def _create_folder(source: Path, target: Path) -> bool:
    missing = [folder for folder in target.parents if not folder.exists()]
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = partial_beside(target)
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

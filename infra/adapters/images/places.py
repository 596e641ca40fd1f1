"""Where labels can be written besides their images' own store: a folder, an object store, a DICOMweb server."""

import errno
import os
from pathlib import Path, PurePosixPath
from typing import Protocol
from urllib.parse import unquote, urlsplit

import fsspec
import requests

from configs.errors import ConflictError, InvalidRequestError, ReadOnlyStoreError, StoreError
from infra.adapters.images.base import Credentials, LabelToStore, StoredLabel
from infra.adapters.images.dicomweb import DicomWebStore
from infra.adapters.images.files import create_exclusively, hash_file

OURS = PurePosixPath("teachback/labels")
_WEB = ("http", "https")
_READ_ONLY = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})


class LabelPlace(Protocol):
    """A place that labels are added to; its own images, if it has any, do not matter."""

    def put_label(self, image: str, source: LabelToStore) -> StoredLabel:
        """Add a label; return once it is durable there. Repeating it with the same bytes changes nothing.

        Raises:
            ConflictError: If this label id is taken by other content.
            InvalidRequestError: If the bytes are not of a kind that this place keeps.
            ReadOnlyStoreError: If the place refuses to be written.
            StoreError: If it could not be written now.
        """


def open_place(
    url: str, *, credentials: Credentials | None = None, session: requests.Session | None = None
) -> LabelPlace:
    """Return the place that an address means: http(s) is a DICOMweb server, anything else holds files."""
    parsed = urlsplit(url)
    if parsed.scheme in _WEB:
        return _DicomWebPlace(DicomWebStore(url, credentials=credentials, session=session))
    if parsed.scheme in {"", "file"}:
        return _FolderPlace(Path(unquote(parsed.path)))
    return _ObjectPlace(url)


class _FolderPlace:
    """A folder: `teachback/labels/<image>/<label id>.<ending>` under it."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def put_label(self, image: str, source: LabelToStore) -> StoredLabel:
        """Create the file."""
        key = _key(image, source)
        target = self._root / key
        try:
            if not self._root.is_dir():
                raise StoreError("The folder for labels is not there: check that it is mounted")
            if not target.parent.resolve().is_relative_to(self._root.resolve()):
                raise InvalidRequestError("The image's id leads out of the folder for labels")
            if not create_exclusively(source.path, target) and hash_file(target) != hash_file(source.path):
                raise ConflictError(f"Label {source.id} is stored already with other content: save it under a new id")
        except OSError as error:
            if error.errno in _READ_ONLY:
                raise ReadOnlyStoreError("The folder for labels may not be written: check its permissions") from None
            reason = os.strerror(error.errno) if error.errno else type(error).__name__
            raise StoreError(f"The folder for labels could not be written ({reason})") from None
        return _stored(image, str(key), source.path)


class _ObjectPlace:
    """An object store that fsspec knows, with this host's own credentials for it."""

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")

    def put_label(self, image: str, source: LabelToStore) -> StoredLabel:
        """Create the object."""
        key = _key(image, source)
        content = source.path.read_bytes()
        try:
            files, root = fsspec.core.url_to_fs(self._url)
            path = f"{root}/{key}"
            if not files.exists(path):
                files.makedirs(path.rsplit("/", 1)[0], exist_ok=True)
                files.pipe_file(path, content, mode="create")  # one put: whole or not at all
            elif files.cat_file(path) != content:
                raise ConflictError(f"Label {source.id} is stored already with other content: save it under a new id")
        except PermissionError:
            raise ReadOnlyStoreError("The object store for labels may not be written: check its rights") from None
        except (OSError, ValueError, ImportError) as error:
            raise StoreError(f"The object store for labels could not be written ({type(error).__name__})") from None
        return _stored(image, str(key), source.path)


class _DicomWebPlace:
    """Another DICOMweb server than the images'; it need not have the image's series."""

    def __init__(self, store: DicomWebStore) -> None:
        self._store = store

    def put_label(self, image: str, source: LabelToStore) -> StoredLabel:
        """Store the SEG as its new series."""
        return self._store.add_seg(image, source)


def _key(image: str, source: LabelToStore) -> PurePosixPath:
    plain = PurePosixPath(image)
    if plain.is_absolute() or ".." in plain.parts:
        raise InvalidRequestError("The image's id leads out of the place for labels")
    ending = "".join(source.path.suffixes)
    return OURS / plain / f"{source.id}{ending}"


def _stored(image: str, key: str, path: Path) -> StoredLabel:
    return StoredLabel(image=image, key=key, fingerprint=f"sha256:{hash_file(path)}", automatic=False, ours=True)

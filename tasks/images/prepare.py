"""An image on this host as the file that bundle hosts read: fetched and converted once."""

import gzip
import shutil
import zlib
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from configs.errors import ConflictError, InvalidRequestError
from infra.adapters.cache.disk import Cache
from infra.adapters.images.base import ImageStore
from tasks.images.volume import read_volume, write_nifti

FORMAT = "nii-1"
"""Part of the cache's key: changes when what is written here does."""
_CHUNK_BYTES = 2**20


class LocalImage(BaseModel):
    """An image as a bundle host reads it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: Path
    sha256: str


def local_image(store: ImageStore, cache: Cache, key: str, fingerprint: str) -> LocalImage:
    """Return the image as an uncompressed `.nii` of this host's cache, and the sha256 of what the store holds.

    Args:
        store: Where the image is.
        cache: This host's cache; a pin of it where the file is used for longer than a moment.
        key: The image's key in the store.
        fingerprint: The image's fingerprint when it was listed.

    Raises:
        NotFoundError: If the store has no such image any more.
        ConflictError: If the store's image has changed since it was listed.
        InvalidRequestError: If it is no volume; the reason may be shown and logged.
        StoreError: If the store cannot be read.
    """

    def fill(folder: Path) -> None:
        source = folder / "source"
        source.mkdir()
        fetched = store.fetch(key, source)
        if store.image(key).fingerprint != fingerprint:
            raise ConflictError("The image has changed in the store since it was listed: list the data set again")
        [path] = fetched.paths
        _convert(path, folder / "image.nii")
        (folder / "sha256").write_text(fetched.sha256)
        shutil.rmtree(source)

    folder = cache.get("raw", cache_key(store, key, fingerprint), fill)
    return LocalImage(path=folder / "image.nii", sha256=(folder / "sha256").read_text())


def cache_key(store: ImageStore, key: str, fingerprint: str) -> str:
    """Return the key under which `local_image` keeps this image, for dropping it."""
    return f"{FORMAT}\n{store.identity}\n{key}\n{fingerprint}"


def _convert(source: Path, target: Path) -> None:
    """Write the volume as uncompressed NIfTI; a NIfTI file keeps its header and all its axes."""
    if source.name.endswith(".nii"):
        source.rename(target)
    elif source.name.endswith(".nii.gz"):
        try:
            with gzip.open(source) as packed, target.open("xb") as plain:
                shutil.copyfileobj(packed, plain, _CHUNK_BYTES)
        except (OSError, EOFError, zlib.error) as error:
            msg = f"The image's file cannot be unpacked ({type(error).__name__}): store it again"
            raise InvalidRequestError(msg) from None
    else:
        write_nifti(read_volume(source), target)

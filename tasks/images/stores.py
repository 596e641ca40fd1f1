"""From a data set's row to its store, and from an image's row to a file on this host."""

import hashlib
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from configs.errors import AccessError, DamagedImageError, InvalidRequestError, NotFoundError
from configs.specs.dataset import DatasetSpec
from infra.adapters.cache.disk import Cache
from infra.adapters.catalog import secrets
from infra.adapters.catalog.tables import Dataset, Image, VaultValue
from infra.adapters.images.base import Credentials, ImageStore
from infra.adapters.images.folder_dicom import Known
from infra.adapters.images.open import open_store
from infra.wiring import Parts
from tasks.images import health, poison
from tasks.images.prepare import LocalImage, local_image

PLACE_FILE = "place"
"""In what this host keeps of a store's listing: `place_of` the data set."""


def store_of(parts: Parts, dataset_id: str) -> ImageStore:
    """Open the store of a data set with its credentials.

    Raises:
        NotFoundError: If there is no such data set.
        StoreError: If the store is not there.
    """
    with parts.catalog.read() as session:
        dataset = session.get(Dataset, dataset_id)
        if dataset is None:
            raise NotFoundError("dataset", dataset_id)
        credentials = _credentials(parts, session, dataset)
        spec = DatasetSpec.model_validate(dataset.spec)
    return opened(parts, spec, credentials, known=partial(_series_of, parts, dataset_id))


def opened(
    parts: Parts, spec: DatasetSpec, credentials: Credentials | None, *, known: Known | None = None
) -> ImageStore:
    """Open a store: an address that an admin registered is allowed by that act.

    Args:
        parts: The adapters.
        spec: The data set.
        credentials: For this store alone.
        known: Which DICOM series a folder's images are already; None = there are none.

    Raises:
        InvalidRequestError: If the address cannot be read, or may not be called.
        StoreError: If the store is not there.
    """
    session = None
    if spec.kind == "dicomweb":
        session = (parts.egress.trusting(spec.url) if spec.by_admin else parts.egress).session()
    return open_store(
        spec,
        credentials=credentials,
        session=session,
        most_bytes=parts.settings.volume_bytes,
        objects=parts.objects,
        keep=partial(_keep, parts.cache, place_of(spec)),
        known=known,
        keep_free_bytes=parts.settings.host_keep_free_mib * 2**20,
    )


def _series_of(parts: Parts, dataset_id: str, keys: Collection[str]) -> dict[str, str]:
    """Return which DICOM series images stand for, of those that the data set has or had."""
    query = select(Image.key, Image.meta).where(Image.dataset_id == dataset_id, Image.key.in_(keys))
    with parts.catalog.read() as session:
        return {key: meta.get("SeriesInstanceUID", "") for key, meta in session.execute(query).tuples()}


def place_of(spec: DatasetSpec) -> str:
    """Return a hash of where a data set's images are: two data sets may share a place, and what is kept of it."""
    return hashlib.sha256(f"{spec.kind}:{spec.url}".encode()).hexdigest()


def _keep(cache: Cache, place: str, key: str, fill: Callable[[Path], None]) -> Path:
    """Keep what a store is read from in this host's cache, and say of which place it is: it may name patients."""

    def owned(folder: Path) -> None:
        """Fill the entry."""
        fill(folder)
        (folder / PLACE_FILE).write_text(place)

    return cache.get("raw", key, owned)


def image_of(parts: Parts, store: ImageStore, image: Image, cache: Cache | None = None) -> LocalImage:
    """Return the image as a file of this host; through a pin of the cache where it has to stay.

    How the store did is noted: in the data set's state, and in the image's failures, which in the end skip it. Call it
    outside a unit.

    Raises: as `tasks.images.prepare.local_image`.
    """

    def ready() -> None:
        """Forget failures; an image that never failed needs no write."""
        if image.failures:
            poison.succeeded(parts, image.id)

    try:
        return local_image(
            store,
            cache or parts.cache,
            image.key,
            image.fingerprint,
            on_fetch=lambda: health.recovered(parts, image.dataset_id),
            on_ready=ready,
            most_bytes=parts.settings.volume_bytes,
        )
    except AccessError as error:
        health.degrade(parts, image.dataset_id, error)
        raise
    except (DamagedImageError, InvalidRequestError) as error:
        poison.failed(parts, store, image, error)
        raise


def credentials_for(parts: Parts, dataset_id: str) -> Credentials | None:
    """Return what a data set's store asks of us; for that store's origin only."""
    with parts.catalog.read() as session:
        return _credentials(parts, session, session.get_one(Dataset, dataset_id))


def _credentials(parts: Parts, session: Session, dataset: Dataset) -> Credentials | None:
    if dataset.secret_id is None:
        return None
    value = session.get(VaultValue, dataset.secret_id)
    if value is None:
        raise NotFoundError("vault value", dataset.secret_id)
    return Credentials.model_validate_json(secrets.opened(parts.vault, value))

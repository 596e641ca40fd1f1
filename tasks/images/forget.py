"""What this host keeps of a data set's images goes when the data set goes."""

import logging
from pathlib import Path

from sqlalchemy import select

from configs.errors import StoreError
from configs.specs.dataset import DatasetSpec
from infra.adapters.cache.trim import trim
from infra.adapters.catalog.tables import Dataset, Image
from infra.wiring import Parts
from tasks.images.prepare import cache_key
from tasks.images.stores import PLACE_FILE, place_of, store_of

OWNER_FILE = "dataset"
"""In an entry of the cache: the data set that it was made for."""

log = logging.getLogger(__name__)


def forget_dataset(parts: Parts, dataset_id: str) -> None:
    """Drop the data set's images, preprocessed tensors, predictions and listings from this host's cache.

    Tensors are known by their content alone, so all of them go: they are made again where they are needed.
    """
    parts.cache.drop_where("prediction", lambda entry: _said(entry, OWNER_FILE) == dataset_id)
    with parts.catalog.read() as session:
        place = place_of(DatasetSpec.model_validate(session.get_one(Dataset, dataset_id).spec))
    parts.cache.drop_where("raw", lambda entry: _said(entry, PLACE_FILE) == place)  # what its files say of patients
    for folder in (parts.settings.cache_dir / "hosts").glob("*"):
        trim(folder, 0)
    try:
        store = store_of(parts, dataset_id)
    except StoreError:
        log.warning("data set %s: its store is gone, so its cached images wait for their eviction", dataset_id)
        return
    for key, fingerprint in _images(parts, dataset_id):
        known = cache_key(store, key, fingerprint)
        if parts.cache.find("raw", known) is not None:
            parts.cache.drop("raw", known)


def _images(parts: Parts, dataset_id: str) -> list[tuple[str, str]]:
    query = select(Image.key, Image.fingerprint).where(Image.dataset_id == dataset_id)
    with parts.catalog.read() as session:
        return [(key, fingerprint) for key, fingerprint in session.execute(query)]


def _said(entry: Path, name: str) -> str:
    try:
        return (entry / name).read_text()
    except FileNotFoundError:
        return ""

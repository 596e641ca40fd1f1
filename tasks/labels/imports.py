"""Labels found at the source are taken in once: they train from the first round and never count towards one."""

import tempfile
from pathlib import Path

from sqlalchemy import select

from configs.errors import DamagedImageError, InvalidRequestError, NotFoundError
from configs.specs.dataset import DatasetSpec
from infra.adapters.catalog import images, labels
from infra.adapters.catalog.tables import Dataset, SeenLabel
from infra.adapters.images.base import ImageStore, StoredLabel
from infra.wiring import Parts
from tasks.images.stores import image_of, store_of
from tasks.labels.check import check_label
from tasks.rounds.count import CheckedNotice, notify

ACTOR = "import"


def import_labels(parts: Parts, dataset_id: str) -> int:
    """Take in the labels that the data set's store holds and we do not know; return how many came in.

    A label that cannot be read or does not fit its image is left where it is. Each is looked at once, until its
    content changes: what a pass costs does not grow with what earlier ones saw.

    Raises:
        StoreError: If the store cannot be read.
    """
    with parts.catalog.read() as session:
        spec = DatasetSpec.model_validate(session.get_one(Dataset, dataset_id).spec)
    if spec.import_labels == "none":
        return 0
    store = store_of(parts, dataset_id)
    with parts.catalog.read() as session:
        seen = set(session.scalars(select(SeenLabel.mark).where(SeenLabel.dataset_id == dataset_id)))
    taken = 0
    for stored in store.labels(seen):
        try:
            of_no_use = stored.automatic or stored.ours
            notice = None if of_no_use else _checked(parts, store, dataset_id, stored)
        except NotFoundError:
            continue  # its image may yet come
        with parts.catalog.write() as session:
            session.merge(SeenLabel(dataset_id=dataset_id, mark=stored.mark))
            if notice is not None:
                taken += notify(session, dataset_id, [notice], ACTOR)
    return taken


def _checked(parts: Parts, store: ImageStore, dataset_id: str, stored: StoredLabel) -> CheckedNotice | None:
    """Return what is to be counted; None if it is known or cannot be learnt from. Raises NotFoundError: no image."""
    with parts.catalog.read() as session:
        image = images.by_key(session, dataset_id, stored.image)
        if labels.find(session, dataset_id, image.id, stored.key, stored.fingerprint) is not None:
            return None
    try:
        with tempfile.TemporaryDirectory(prefix="import-") as folder:
            path = store.fetch_label(stored.key, Path(folder))
            found = check_label(image_of(parts, store, image).geometry(), path, {})
            if found.quarantine is not None:
                return None
            blob = parts.blobs.put_file(path)
    except (InvalidRequestError, DamagedImageError):
        return None
    return CheckedNotice(
        kind="added",
        image_id=image.id,
        store_key=stored.key,
        fingerprint=stored.fingerprint,
        blob=blob,
        imported=True,
    )

"""What a store holds, as rows: new images come in, changed ones are noted, vanished ones are closed."""

import random
from collections.abc import Iterable, Iterator
from itertools import islice

from pydantic import BaseModel, ConfigDict
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from infra.adapters.catalog.tables import Dataset, Image
from infra.adapters.catalog.tables.base import now
from infra.adapters.images.base import StoredImage
from infra.wiring import Parts
from tasks.images.stores import store_of
from tasks.selection.leases import reopen
from tasks.selection.skip import GONE, SYSTEM

BATCH = 500
HELD_OUT_PERCENT = 20


class SyncReport(BaseModel):
    """What a pass over the store found."""

    model_config = ConfigDict(frozen=True)

    images: int
    added: int
    changed: int
    gone: int


def sync_dataset(parts: Parts, dataset_id: str) -> SyncReport:
    """List the data set's store and bring the image rows up to date, in small units.

    Raises:
        NotFoundError: If there is no such data set.
        StoreError: If the store cannot be listed; what was listed before that is kept.
    """
    store = store_of(parts, dataset_id)
    with parts.catalog.read() as session:
        org = session.get_one(Dataset, dataset_id).org
    seen, added, changed = set[str](), 0, 0
    for batch in _batches(store.images()):
        with parts.catalog.write() as session:
            new, different = _take_in(parts, session, org, dataset_id, batch)
        seen.update(image.key for image in batch)
        added, changed = added + new, changed + different
    with parts.catalog.write() as session:
        gone = _close_gone(session, dataset_id, seen)
        session.execute(update(Dataset).where(Dataset.id == dataset_id).values(synced_at=now(), state="ready"))
    return SyncReport(images=len(seen), added=added, changed=changed, gone=gone)


def _take_in(parts: Parts, session: Session, org: str, dataset_id: str, batch: list[StoredImage]) -> tuple[int, int]:
    keys = [image.key for image in batch]
    known = {
        image.key: image
        for image in session.scalars(select(Image).where(Image.dataset_id == dataset_id, Image.key.in_(keys)))
    }
    added = changed = 0
    back: list[int] = []
    for stored in batch:
        row = known.get(stored.key)
        if row is None:
            session.add(_row(parts, org, dataset_id, stored))
            added += 1
            continue
        different = row.fingerprint != stored.fingerprint
        if different:
            row.fingerprint, row.meta = stored.fingerprint, dict(stored.meta)
            changed += 1
        elsewhere = row.skipped_by == SYSTEM and (different or row.skipped_reason == GONE)
        if elsewhere:
            row.skipped_reason, row.skipped_by = "", ""
            back.append(row.id)
    session.flush()
    reopen(session, back)
    return added, changed


def _row(parts: Parts, org: str, dataset_id: str, stored: StoredImage) -> Image:
    # A patient is known here only as a keyed hash: of the patient, else of the study, else of the image.
    identity = stored.patient or stored.study or stored.key
    patient_key = parts.vault.keyed_hash(org, identity)
    return Image(
        dataset_id=dataset_id,
        key=stored.key,
        name=stored.name,
        patient_key=patient_key,
        held_out=is_held_out(patient_key),
        fingerprint=stored.fingerprint,
        meta=dict(stored.meta),
        shuffle=random.random(),  # noqa: S311 - an order, no secret
    )


def is_held_out(patient_key: str) -> bool:
    """Say whether the keyed hash sends this patient to evaluation: a fifth of all."""
    return int(patient_key[:8], 16) % 100 < HELD_OUT_PERCENT


def _close_gone(session: Session, dataset_id: str, seen: set[str]) -> int:
    rows = session.scalars(select(Image).where(Image.dataset_id == dataset_id, Image.skipped_reason == ""))
    gone = [image for image in rows if image.key not in seen]
    for image in gone:
        image.open, image.skipped_reason, image.skipped_by = False, GONE, SYSTEM
    return len(gone)


def _batches(images: Iterable[StoredImage]) -> Iterator[list[StoredImage]]:
    iterator = iter(images)
    while batch := list(islice(iterator, BATCH)):
        yield batch

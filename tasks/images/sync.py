"""What a store holds, as rows: new images come in, changed ones are noted, vanished ones are closed."""

import math
import random
import time
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import and_, insert, or_, select, update
from sqlalchemy.orm import Session

from infra.adapters.catalog import tallies
from infra.adapters.catalog.locks import lock
from infra.adapters.catalog.tables import Dataset, Image
from infra.adapters.catalog.tables.base import now
from infra.adapters.images.base import ImageStore, StoredImage
from infra.adapters.security.vault import Vault
from infra.wiring import Parts
from tasks.images.examine import Examined, examine
from tasks.images.health import degraded_by
from tasks.images.stack import IRREGULAR
from tasks.images.stores import store_of
from tasks.selection.leases import reopen
from tasks.selection.skip import GONE, SYSTEM, skip

# One unit each: others' writes come in between, and headers of so many are asked for at a time.
BATCH = 250
_STREAMED = 10_000
# Evaluation takes labels from training: a fifth is the usual price of knowing how good a model is.
HELD_OUT_PERCENT = 20
_MOST_UID = 64  # characters, DICOM PS3.5 9.1
RESAMPLED = "Resampled"
"""In an image's meta: what was put right by interpolation."""


class SyncReport(BaseModel):
    """What a pass over the store found."""

    model_config = ConfigDict(frozen=True)

    images: int
    added: int
    changed: int
    gone: int
    complete: bool = Field(default=True, description="Whether the whole store was listed in the time that was given.")


def sync_dataset(
    parts: Parts, dataset_id: str, *, within_s: float = math.inf, store: ImageStore | None = None
) -> SyncReport:
    """List the data set's store and bring the image rows up to date, in small units.

    Args:
        parts: The adapters.
        dataset_id: The data set.
        within_s: Seconds from the first new image on after which no further batch is begun; a later pass goes on there.
        store: Its store, where it is open; else it is opened.

    Raises:
        NotFoundError: If there is no such data set.
        StoreError: If the store cannot be listed; the data set is degraded, what was listed before that is kept.
    """
    with degraded_by(parts, dataset_id):
        return _sync(parts, dataset_id, within_s, store or store_of(parts, dataset_id))


def take_in(parts: Parts, dataset_id: str, store: ImageStore, image: StoredImage) -> None:
    """Make or renew the row of one image that came to its store by us: nothing else need be listed.

    Raises:
        StoreError: If the store cannot be read.
    """
    with parts.catalog.read() as session:
        org = session.get_one(Dataset, dataset_id).org
    examined = examine(store, [image])
    with parts.catalog.write() as session:
        session.scalar(lock(session, select(Dataset.id).where(Dataset.id == dataset_id)))
        _take_in(parts, session, org, dataset_id, [image], examined)


def look_anew(session: Session, dataset_id: str) -> None:
    """Have the next listing look at the headers again of all images that are no regular grid: the rule has changed."""
    irregular = or_(
        and_(Image.skipped_by == SYSTEM, Image.skipped_reason.startswith(f"{IRREGULAR}: ")),
        Image.meta[RESAMPLED].as_string().is_not(None),
    )
    session.execute(update(Image).where(Image.dataset_id == dataset_id, irregular).values(fingerprint=""))


def _sync(parts: Parts, dataset_id: str, within_s: float, store: ImageStore) -> SyncReport:
    with parts.catalog.read() as session:
        org = session.get_one(Dataset, dataset_id).org
        began = session.scalars(select(now())).one()
    seen, added, changed = set[str](), 0, 0
    until = math.inf
    for batch in _batches(store.images()):
        if time.monotonic() > until:
            return SyncReport(images=len(seen), added=added, changed=changed, gone=0, complete=False)
        seen.update(image.key for image in batch)
        news, unknown = _news(parts, dataset_id, batch)
        if not news:
            continue  # as a rule: a store is listed again for a few images of many
        # Between units: headers are asked for over the network.
        examined = examine(store, unknown)
        with parts.catalog.write() as session:
            session.scalar(lock(session, select(Dataset.id).where(Dataset.id == dataset_id)))  # one listing at a time
            new, different = _take_in(parts, session, org, dataset_id, news, examined)
        if new and not added:  # not before: a pass that spent its time on what is known would never end
            until = time.monotonic() + within_s
        added, changed = added + new, changed + different
    with parts.catalog.write() as session:
        # Only after a whole listing: what a listing that broke off did not name may well be there.
        gone = _close_gone(session, dataset_id, seen, began)
        session.execute(update(Dataset).where(Dataset.id == dataset_id).values(synced_at=now()))
    return SyncReport(images=len(seen), added=added, changed=changed, gone=gone)


def _news(parts: Parts, dataset_id: str, batch: list[StoredImage]) -> tuple[list[StoredImage], list[StoredImage]]:
    """Return the images that are new, have changed or are back; and of them those that cost a look at their headers."""
    keys = [image.key for image in batch]
    columns = select(Image.key, Image.fingerprint, Image.skipped_reason)
    query = columns.where(Image.dataset_id == dataset_id, Image.key.in_(keys))
    with parts.catalog.read() as session:
        known = {key: (fingerprint, reason == GONE) for key, fingerprint, reason in session.execute(query)}
    news = [image for image in batch if known.get(image.key) != (image.fingerprint, False)]
    return news, [image for image in news if known.get(image.key, ("", False))[0] != image.fingerprint]


def _take_in(
    parts: Parts,
    session: Session,
    org: str,
    dataset_id: str,
    batch: list[StoredImage],
    examined: Mapping[str, Examined],
) -> tuple[int, int]:
    keys = [image.key for image in batch]
    known = {
        image.key: image
        for image in session.scalars(select(Image).where(Image.dataset_id == dataset_id, Image.key.in_(keys)))
    }
    changed = 0
    new: list[dict[str, Any]] = []
    back: list[int] = []
    for stored in batch:
        row, found = known.get(stored.key), examined.get(stored.key, Examined())
        if row is None:
            new.append(_row(parts, org, dataset_id, stored, found))
            continue
        different = row.fingerprint != stored.fingerprint
        if different:
            row.fingerprint, row.meta, row.failures = stored.fingerprint, _meta(stored, found), 0
            row.study = _study(stored)
            changed += 1
        elsewhere = row.skipped_by == SYSTEM and (different or row.skipped_reason == GONE)
        if elsewhere:
            row.skipped_reason, row.skipped_by = "", ""
        if found.skipped:
            skip(session, row, found.skipped)
        elif elsewhere:
            back.append(row.id)
    if new:  # as one statement: an object for each of a million takes twice as long
        session.execute(insert(Image), new)
        tallies.more(session, dataset_id, len(new))
    session.flush()
    if back:
        reopen(session, dataset_id, back)
    return len(new), changed


def _row(parts: Parts, org: str, dataset_id: str, stored: StoredImage, found: Examined) -> dict[str, Any]:
    """Return a new image's row by its columns."""
    patient_key = patient_key_of(parts.vault, org, stored)
    return {
        "dataset_id": dataset_id,
        "key": stored.key,
        "name": stored.name,
        "study": _study(stored),
        "patient_key": patient_key,
        "held_out": is_held_out(patient_key),
        "fingerprint": stored.fingerprint,
        "meta": _meta(stored, found),
        "open": not found.skipped,
        "skipped_reason": found.skipped,
        "skipped_by": SYSTEM if found.skipped else "",
        "shuffle": random.random(),  # noqa: S311 - an order, no secret
    }


def _study(stored: StoredImage) -> str | None:
    """Return the study's UID; one that is too long is none."""
    return stored.study if stored.study and len(stored.study) <= _MOST_UID else None


def _meta(stored: StoredImage, found: Examined) -> dict[str, str]:
    return {**stored.meta, **({RESAMPLED: found.resampled} if found.resampled else {})}


def patient_key_of(vault: Vault, org: str, stored: StoredImage) -> str:
    """Return what a patient is known by here: a keyed hash of the patient, else of the study, else of the image."""
    return vault.keyed_hash(org, stored.patient or stored.study or stored.key)


def is_held_out(patient_key: str) -> bool:
    """Say whether the keyed hash sends this patient to evaluation: a fifth of all."""
    return int(patient_key[:8], 16) % 100 < HELD_OUT_PERCENT


def _close_gone(session: Session, dataset_id: str, seen: set[str], began: float) -> int:
    # What somebody put into the store meanwhile need not have been listed.
    before = and_(Image.dataset_id == dataset_id, Image.skipped_reason == "", Image.added_at < began)
    # Keys alone, a batch at a time: a million rows would not fit.
    query = select(Image.id, Image.key).where(before)
    gone = [row.id for row in session.execute(query.execution_options(yield_per=_STREAMED)) if row.key not in seen]
    closed = {"open": False, "skipped_reason": GONE, "skipped_by": SYSTEM}
    for first in range(0, len(gone), BATCH):
        session.execute(update(Image).where(Image.id.in_(gone[first : first + BATCH])).values(closed))
    return len(gone)


def _batches(images: Iterable[StoredImage]) -> Iterator[list[StoredImage]]:
    iterator = iter(images)
    while batch := list(islice(iterator, BATCH)):
        yield batch

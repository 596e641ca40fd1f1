"""A data set catches up with its store: images, then their labels. What a request cannot wait for goes on behind it.

Each batch of images and each label is a unit of its own, so whatever ends a pass, the next one goes on there.
"""

import math
import time

from sqlalchemy import select
from sqlalchemy.orm import Session

from infra.adapters.catalog import outbox
from infra.adapters.catalog.outbox import CLAIM_S, Entry, OutboxKind
from infra.adapters.catalog.tables import Dataset
from infra.adapters.catalog.tables.base import now
from infra.adapters.images.base import ImageStore
from infra.wiring import Parts
from tasks.images.health import LISTING, READY, degraded_by
from tasks.images.sync import SyncReport, sync_dataset
from tasks.labels.incoming.imports import taking_in
from tasks.labels.incoming.upload import store_is_back

PASS_S = CLAIM_S / 2
"""Seconds of one pass behind, as a rule within its entry's claim: two passes at once would be in each other's way."""
_GOES_ON = "Its store is being listed: more images and labels come by themselves"


def catch_up(
    parts: Parts, dataset_id: str, *, within_s: float = math.inf, store: ImageStore | None = None
) -> SyncReport:
    """List the data set's store and take in what came to it; what does not fit in the time goes on behind.

    Args:
        parts: The adapters.
        dataset_id: The data set.
        within_s: Seconds for new images, and then for new labels; one of each comes in whatever it takes.
        store: Its store, where it is open; else it is opened.

    Raises:
        NotFoundError: If there is no such data set.
        StoreError: If the store cannot be read; the data set is degraded, what came in before that is kept.
    """
    report = sync_dataset(parts, dataset_id, within_s=within_s, store=store)
    if report.complete:
        until = time.monotonic() + within_s
        with degraded_by(parts, dataset_id):
            for _ in taking_in(parts, dataset_id, store):
                if time.monotonic() > until:
                    report = report.model_copy(update={"complete": False})
                    break
    note(parts, dataset_id, complete=report.complete)
    store_is_back(parts)
    return report


def go_on(parts: Parts, entry: Entry) -> None:
    """Take the next pass over a data set whose listing goes on behind."""
    with parts.catalog.read() as session:
        row = session.get(Dataset, entry.ref)
        if row is None or row.deleted_at is not None:
            return
    if not catch_up(parts, entry.ref, within_s=PASS_S).complete:
        with parts.catalog.write() as session:
            outbox.enqueue(session, OutboxKind.LISTING, entry.ref)


def note(parts: Parts, dataset_id: str, *, complete: bool) -> None:
    """Have a listing that has not come to its end go on behind, and the data set say so until it has."""

    def noted(session: Session) -> None:
        """Ask for another pass, or end the listing."""
        row = session.get_one(Dataset, dataset_id)
        if not complete:
            row.state, row.state_reason = LISTING, _GOES_ON
            if not outbox.undelivered(session, OutboxKind.LISTING, dataset_id):
                outbox.enqueue(session, OutboxKind.LISTING, dataset_id)
            return
        if row.state == LISTING:
            row.state, row.state_reason = READY, ""
        row.caught_up_at = row.caught_up_at or session.scalar(select(now()))

    if not complete or _is_to_be_noted(parts, dataset_id):
        parts.catalog.unit(noted)


def _is_to_be_noted(parts: Parts, dataset_id: str) -> bool:
    with parts.catalog.read() as session:
        row = session.get_one(Dataset, dataset_id)
        return row.state == LISTING or row.caught_up_at is None

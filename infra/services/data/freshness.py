"""Images that came to a store since it was last listed: found when somebody asks for them, at most once a minute."""

from collections.abc import Collection

from sqlalchemy import select

from infra.adapters.catalog.tables import Dataset, Image
from infra.adapters.catalog.tables.base import now
from infra.wiring import Parts
from tasks.images.sync import sync_dataset
from tasks.labels.incoming.catch_up import note

# Who names an image that is not known may have stored it just now; but not everybody's typing error lists the store.
LISTED_AGAIN_AFTER_S = 60.0
LISTING_S = 20.0
"""Seconds that a request may spend on listing; a store that takes longer is listed piece by piece."""


def look_again(parts: Parts, dataset_id: str, keys: Collection[str] = ()) -> bool:
    """List the store again if that can help, and say whether it was.

    Args:
        parts: The adapters.
        dataset_id: The data set.
        keys: Images that are asked for; where all are known already nothing is done. none = any new one would do.

    Raises:
        StoreError: If the store cannot be listed.
    """
    with parts.catalog.read() as session:
        fresh = Dataset.synced_at > now() - LISTED_AGAIN_AFTER_S
        if session.scalar(select(Dataset.id).where(Dataset.id == dataset_id, fresh)) is not None:
            return False
        wanted = set(keys)
        known = select(Image.key).where(Image.dataset_id == dataset_id, Image.key.in_(wanted))
        if wanted and wanted <= set(session.scalars(known)):
            return False
    report = sync_dataset(parts, dataset_id, within_s=LISTING_S)
    if not report.complete:
        note(parts, dataset_id, complete=False)
    return True

"""Data sets whose store failed: asked again in the background, so that nobody has to try whether it is back."""

import logging
from itertools import islice

from sqlalchemy import select

from configs.errors import DamagedImageError, NotFoundError, StoreError
from infra.adapters.catalog import loops
from infra.adapters.catalog.tables import Dataset
from infra.wiring import Parts
from tasks.images.health import DEGRADED, degraded_by
from tasks.images.stores import store_of
from tasks.labels.incoming.upload import store_is_back

FIRST_S, LAST_S = 30.0, 15 * 60.0
SAMPLE = 3  # one damaged image says nothing of its store
log = logging.getLogger(__name__)


class Probes:
    """Asks each degraded store again: after half a minute, then ever more rarely, at last every quarter of an hour."""

    def __init__(self) -> None:
        self._wait_s: dict[str, float] = {}

    def check(self, parts: Parts) -> int:
        """Ask those stores whose turn it is, and return how many answered again."""
        with parts.catalog.read() as session:
            query = select(Dataset.id).where(Dataset.state == DEGRADED, Dataset.deleted_at.is_(None))
            found = session.scalars(query.order_by(Dataset.id)).all()
        self._wait_s = {dataset_id: self._wait_s.get(dataset_id, FIRST_S) for dataset_id in found}
        back = sum(self._ask(parts, dataset_id) for dataset_id in found)
        if back:
            store_is_back(parts)
        return back

    def _ask(self, parts: Parts, dataset_id: str) -> bool:
        # Noted in the catalog: of several processes one asks, and one that starts anew does not ask all at once.
        with parts.catalog.write() as session:
            if not loops.is_time(session, f"probe/{dataset_id}", self._wait_s[dataset_id]):
                return False
        self._wait_s[dataset_id] = min(2 * self._wait_s[dataset_id], LAST_S)
        try:
            with degraded_by(parts, dataset_id):
                _probe(parts, dataset_id)
        except StoreError:
            return False
        log.info("data set %s: its store answers again", dataset_id)
        return True


def _probe(parts: Parts, dataset_id: str) -> None:
    """Have the store list images and read one's headers, where it has any: either may be what failed.

    Raises:
        StoreError: If it lists nothing, or none of the first images can be read.
    """
    store = store_of(parts, dataset_id)
    damaged: StoreError | None = None
    for image in islice((each for each in store.images() if not each.skipped), SAMPLE):
        try:
            store.headers(image.key)
        except NotFoundError:
            continue  # it went while we looked
        except DamagedImageError as error:
            damaged = error
            continue
        return
    if damaged is not None:
        raise damaged

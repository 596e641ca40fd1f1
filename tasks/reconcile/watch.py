"""Data sets whose stores are watched: what came to one, or went, is in the catalog within seconds.

A store is asked a question that costs little, and listed only when its answer is another. What costs more is asked more
rarely, so that watching takes a small part of a store's time, whatever its size.
"""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Row, or_, select

from configs.errors import InvalidRequestError, NotFoundError, StoreError
from infra.adapters.catalog.tables import Dataset
from infra.adapters.catalog.tables.base import now
from infra.adapters.images.base import Watch
from infra.wiring import Parts
from tasks.images.health import READY, degrade
from tasks.images.stores import store_of
from tasks.labels.incoming.catch_up import catch_up

# Other data sets wait in the same thread; a large listing goes on in the next pass.
LISTING_S = 10.0
AGAIN_AFTER_S = 60.0
"""A file or series that was still being written when it was met is looked at again then, and once before."""
_ASKING, _LISTING = 20.0, 4.0  # times what it took until it is done again
_NEW_S = 60.0  # whoever makes a data set lists it, too
log = logging.getLogger(__name__)


@dataclass
class _Watched:
    """A store that is watched, and when it is asked, or listed whatever it says (monotonic seconds)."""

    made_of: tuple[object, ...]
    watch: Watch
    ask_at: float = 0.0
    list_at: tuple[float, ...] = ()


class Watches:
    """Asks the stores whose turn it is."""

    def __init__(self) -> None:
        self._watched: dict[str, _Watched] = {}
        self._refused: dict[str, float] = {}

    def check(self, parts: Parts) -> int:
        """Return how many stores had news."""
        rows = _to_watch(parts)
        self._watched = {row.id: self._watched[row.id] for row in rows if row.id in self._watched}
        return sum(self._look(parts, row) for row in rows)

    def _look(self, parts: Parts, row: Row[tuple[str, dict[str, object], str | None]]) -> bool:
        made_of = (row.spec, row.secret_id)
        if time.monotonic() < self._refused.get(row.id, 0.0):
            return False
        try:
            watched = self._watched.get(row.id)
            if watched is None or watched.made_of != made_of:
                watched = self._watched[row.id] = _Watched(made_of, store_of(parts, row.id).watch())
            return time.monotonic() >= watched.ask_at and _ask(parts, row.id, watched)
        except StoreError as error:
            self._watched.pop(row.id, None)
            degrade(parts, row.id, error)
        except (InvalidRequestError, NotFoundError) as error:  # its text may name an address
            self._watched.pop(row.id, None)
            self._refused[row.id] = time.monotonic() + AGAIN_AFTER_S
            log.warning("data set %s cannot be watched: %s", row.id, type(error).__name__)
        except Exception as error:  # noqa: BLE001 - process edge: the others are looked at, and this one's news kept
            self._watched.pop(row.id, None)
            self._refused[row.id] = time.monotonic() + AGAIN_AFTER_S
            log.warning("data set %s is listed again later: unexpected %s", row.id, type(error).__name__)
        return False


def _to_watch(parts: Parts) -> Sequence[Row[tuple[str, dict[str, object], str | None]]]:
    """Return the data sets but those that are degraded, which are probed, or still listed for the first time."""
    listed = or_(Dataset.synced_at.is_not(None), Dataset.created_at < now() - _NEW_S)
    query = select(Dataset.id, Dataset.spec, Dataset.secret_id)
    query = query.where(Dataset.deleted_at.is_(None), Dataset.state == READY, listed)
    with parts.catalog.read() as session:
        return session.execute(query.order_by(Dataset.id)).all()


def _ask(parts: Parts, dataset_id: str, watched: _Watched) -> bool:
    began = time.monotonic()
    changed, unanswered = False, False
    try:
        changed = watched.watch.changed()
    except StoreError:  # whether the store fails, or takes only this question ill, its listing tells
        unanswered = True
    took_s = time.monotonic() - began
    due = any(at <= began for at in watched.list_at)
    watched.list_at = tuple(at for at in watched.list_at if at > began)
    news = False
    if changed or due or unanswered:
        report = catch_up(parts, dataset_id, within_s=LISTING_S)
        news = bool(changed or report.added or report.changed or report.gone)
    done = time.monotonic()
    if news:
        watched.list_at = (done, done + AGAIN_AFTER_S)
    least_s = AGAIN_AFTER_S if unanswered else parts.settings.watch_s
    wait_s = max(least_s, _ASKING * took_s, _LISTING * (done - began - took_s))
    watched.ask_at = done + wait_s
    return news

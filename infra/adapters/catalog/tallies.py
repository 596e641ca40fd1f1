"""How many images a data set has, kept beside it: counting a million takes longer than a page may.

Images come in by units of work and never go: what is no longer in its store is skipped.
"""

from collections import Counter

from sqlalchemy import bindparam, event, update
from sqlalchemy.orm import Session, sessionmaker

from infra.adapters.catalog.tables import Dataset, Image
from infra.adapters.catalog.tables.base import Base

_TABLE = Base.metadata.tables[Dataset.__tablename__]
_MORE = update(_TABLE).where(_TABLE.c.id == bindparam("dataset")).values(images=_TABLE.c.images + bindparam("more"))


def install(units: sessionmaker[Session]) -> None:
    """Have every unit of this factory count the images that it adds."""
    event.listen(units, "after_flush", _count)


def _count(session: Session, _context: object) -> None:
    added = Counter(row.dataset_id for row in session.new if isinstance(row, Image))
    for dataset_id, count in sorted(added.items()):
        more(session, dataset_id, count)


def more(session: Session, dataset_id: str, count: int) -> None:
    """Count images that were added as plain rows, which a unit does not see."""
    session.connection().execute(_MORE, {"dataset": dataset_id, "more": count})

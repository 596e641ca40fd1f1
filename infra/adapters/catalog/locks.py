"""What a unit holds until its end: rows, or a name where there is no row yet.

On SQLite a unit is alone from its beginning (`session`), so both do nothing there.
"""

from typing import Any, TypeVar

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

_Row = TypeVar("_Row", bound=tuple[Any, ...])


def lock(session: Session, query: Select[_Row]) -> Select[_Row]:
    """Return *query* so that the rows it finds are this unit's until its end.

    On PostgreSQL the lock leaves the key alone: a unit that adds a row which refers to this one (a round names its data
    set) need not wait, and so cannot close a circle of waiting.
    """
    if session.get_bind().dialect.name == "sqlite":
        return query
    return query.with_for_update(key_share=True).execution_options(populate_existing=True)


def one_by_one(session: Session, name: str) -> None:
    """Let units that name the same thing run one after the other."""
    if session.get_bind().dialect.name != "sqlite":
        session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(name, 0))))

"""INSERT … ON CONFLICT: both databases have it, and SQLAlchemy says it once for each."""

from collections.abc import Callable
from typing import Any

from sqlalchemy import Executable
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from infra.adapters.catalog.tables import Base


def insert(session: Session, table: type[Base]) -> "postgresql.Insert | sqlite.Insert":
    """Return an INSERT that can be told what to do where the row is there already."""
    return sqlite.insert(table) if session.get_bind().dialect.name == "sqlite" else postgresql.insert(table)


def prepared(table: type[Base], finish: Callable[[Any], Executable]) -> Callable[[Session], Executable]:
    """Return what gives such an INSERT, made once, for a session's database; the values are the statement's parameters.

    Args:
        table: Whose rows, which no session keeps as objects.
        finish: Says what to do where the row is there already, to either database's INSERT.
    """
    rows = Base.metadata.tables[table.__tablename__]
    made = {"sqlite": finish(sqlite.insert(rows)), "postgresql": finish(postgresql.insert(rows))}
    return lambda session: made[session.get_bind().dialect.name]

"""INSERT … ON CONFLICT: both databases have it, and SQLAlchemy says it once for each."""

from typing import Any

from sqlalchemy import Insert
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import Session
from sqlalchemy.sql.compiler import SQLCompiler

from infra.adapters.catalog.tables import Base


class InsertIfAbsent(Insert):
    """An INSERT of a row that may be there already: `rowcount` says whether it was not.

    SQLAlchemy 2.0 compiles its own form of this anew each time, which takes ten times as long as SQLite with it. For
    tables whose primary key is given.
    """

    inherit_cache = True


@compiles(InsertIfAbsent)
def _if_absent(insert: InsertIfAbsent, compiler: SQLCompiler, **how: Any) -> str:
    plain = compiler.visit_insert(insert, **how)  # type: ignore[no-untyped-call]  # SQLAlchemy's own has no types
    return f"{plain} ON CONFLICT DO NOTHING"


def insert(session: Session, table: type[Base]) -> "postgresql.Insert | sqlite.Insert":
    """Return an INSERT that can be told what to do where the row is there already."""
    return sqlite.insert(table) if session.get_bind().dialect.name == "sqlite" else postgresql.insert(table)

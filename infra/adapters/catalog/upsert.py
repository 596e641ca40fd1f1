"""INSERT … ON CONFLICT: both databases have it, and SQLAlchemy says it once for each."""

from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from infra.adapters.catalog.tables import Base


def insert(session: Session, table: type[Base]) -> "postgresql.Insert | sqlite.Insert":
    """Return an INSERT that can be told what to do where the row is there already."""
    return sqlite.insert(table) if session.get_bind().dialect.name == "sqlite" else postgresql.insert(table)

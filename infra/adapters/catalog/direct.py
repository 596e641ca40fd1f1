"""Statements past the session's own bookkeeping: a third of the time for those that every annotator's call makes.

What the session has changed is written first, as it always is. Entities come as their columns, and rows that the
session has loaded are not told of what a statement changes.
"""

from collections.abc import Mapping
from typing import Any, TypeVar, overload

from sqlalchemy import CursorResult, Executable
from sqlalchemy.orm import Session
from sqlalchemy.sql.selectable import TypedReturnsRows

_Row = TypeVar("_Row", bound=tuple[Any, ...])


@overload
def run(session: Session, statement: TypedReturnsRows[_Row], values: Mapping[str, Any]) -> CursorResult[_Row]: ...
@overload
def run(session: Session, statement: Executable, values: Mapping[str, Any]) -> CursorResult[Any]: ...
def run(session: Session, statement: Executable, values: Mapping[str, Any]) -> CursorResult[Any]:
    """Run a statement that was built once, with the values of its parameters."""
    if session.autoflush:
        session.flush()
    return session.connection().execute(statement, dict(values))

"""Requests that may come twice: the first unit in which a request changes something notes its key.

Every change that a person can cause writes an audit row, so that row is what the key goes with: one unit, one effect.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, event, func, select
from sqlalchemy.orm import Session, sessionmaker

from configs.errors import ConflictError
from infra.adapters.catalog.tables import Audit, IdempotencyKey
from infra.adapters.catalog.tables.base import now

KEPT_S = 24 * 3600
_NOTED = "repeat noted"


class RepeatedKeyError(ConflictError):
    """An `Idempotency-Key` comes back with another request, or while the first one is still being answered."""


@dataclass
class Once:
    """A request that carries a key. `noted`: its effect is in the catalog. `repeated`: another had the same before."""

    org: str
    key: str
    request_hash: str
    noted: bool = False
    repeated: bool = False


_current: ContextVar[Once | None] = ContextVar("once", default=None)


@contextmanager
def once(request: Once) -> Iterator[None]:
    """Have the units of this request note its key while the block runs."""
    token = _current.set(request)
    try:
        yield
    finally:
        _current.reset(token)


@contextmanager
def undone_if_lost() -> Iterator[None]:
    """Have the request's key noted again if the unit in the block is lost after its own end, with those it waited for.

    Raises: what the block raises.
    """
    request = _current.get()
    before = request.noted if request is not None else False
    try:
        yield
    except BaseException:  # it goes on up; whatever it is, nothing of the unit is there
        if request is not None:
            request.noted = before
        raise


def install(units: sessionmaker[Session]) -> None:
    """Have every unit of this factory note its request's key."""
    event.listen(units, "before_flush", _note)
    event.listen(units, "after_rollback", _forget)


def _note(session: Session, _context: object, _instances: object) -> None:
    request = _current.get()
    if request is None or request.noted or not any(isinstance(row, Audit) for row in session.new):
        return
    request.noted = session.info[_NOTED] = True
    if any(isinstance(row, IdempotencyKey) for row in session.new):
        return  # the use case notes its answer by itself
    with session.no_autoflush:
        if session.get_bind().dialect.name != "sqlite":
            name = f"repeat/{request.org}/{request.key}"
            session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(name, 0))))
        session.execute(delete(IdempotencyKey).where(IdempotencyKey.org == request.org, IdempotencyKey.until <= now()))
        known = session.get(IdempotencyKey, (request.org, request.key))
        if known is not None:
            session.info[_NOTED] = request.noted = False
            request.repeated = known.request_hash == request.request_hash
            raise RepeatedKeyError("A request with this Idempotency-Key was just done: ask again for its answer")
        until: Any = session.scalar(select(now() + KEPT_S))
        session.add(
            IdempotencyKey(org=request.org, key=request.key, request_hash=request.request_hash, answer={}, until=until)
        )


def _forget(session: Session) -> None:
    """Have a unit that is run again, or another one, note the key: what this one noted was rolled back."""
    request = _current.get()
    if request is not None and session.info.pop(_NOTED, False):
        request.noted = False

"""Requests that may come twice: the first unit in which a request changes something notes its key.

Every change that a person can cause writes an audit row, so that row is what the key goes with: one unit, one effect.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from pydantic import BaseModel
from sqlalchemy import delete, event
from sqlalchemy.orm import Session, sessionmaker

from configs.errors import ConflictError
from infra.adapters.catalog.locks import one_by_one
from infra.adapters.catalog.tables import Audit, IdempotencyKey
from infra.adapters.catalog.tables.base import now

# Clients give up repeating a request within minutes; a day covers a laptop that slept.
KEPT_S = 24 * 3600
# Kept with the session, not with the request: a unit that is run again has a new one.
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


class Kept(BaseModel):
    """The column `answer`: the id of what was changed first, and the sealed answer, once there is one."""

    id: str | None = None
    key_id: str | None = None
    sealed: str | None = None


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


def made_before(session: Session) -> str | None:
    """Return the id of what this request made when it came first, and its answer was lost; None = it made nothing yet.

    A use case that asks this first, in its unit, answers such a request as it did the first one. For those that do not
    it is a conflict.
    """
    request = _current.get()
    if request is None or (known := held(session, request)) is None or known.request_hash != request.request_hash:
        return None
    return Kept.model_validate(known.answer).id


def held(session: Session, request: Once) -> IdempotencyKey | None:
    """Return what is noted of a request's key; until the unit ends nobody else notes anything of it."""
    one_by_one(session, f"repeat/{request.org}/{request.key}")  # there may be no row to lock yet
    mine = (IdempotencyKey.org == request.org, IdempotencyKey.key == request.key)
    session.execute(delete(IdempotencyKey).where(*mine, IdempotencyKey.until <= now()))
    return session.get(IdempotencyKey, (request.org, request.key))


def note(session: Session, request: Once, kept: Kept) -> None:
    """Keep this of a request, of which nothing is noted yet."""
    row = IdempotencyKey(org=request.org, key=request.key, request_hash=request.request_hash, until=now() + KEPT_S)
    row.answer = kept.model_dump()
    session.add(row)


def install(units: sessionmaker[Session]) -> None:
    """Have every unit of this factory note its request's key."""
    event.listen(units, "before_flush", _note)
    event.listen(units, "after_rollback", _forget)


def _note(session: Session, _context: object, _instances: object) -> None:
    request = _current.get()
    if request is None or request.noted or (changed := _audited(session)) is None:
        return
    with session.no_autoflush:
        known = held(session, request)
        if known is not None:
            request.repeated = known.request_hash == request.request_hash
            raise RepeatedKeyError("A request with this Idempotency-Key was just done: ask again for its answer")
        note(session, request, Kept(id=changed))
    # One key for the whole request, however many units it takes: the first of them decides.
    request.noted = session.info[_NOTED] = True


def _audited(session: Session) -> str | None:
    """Return what the first audit row of this flush is about; None if there is no such row."""
    return next((row.ref for row in session.new if isinstance(row, Audit)), None)


def _forget(session: Session) -> None:
    """Have a unit that is run again, or another one, note the key: what this one noted was rolled back."""
    request = _current.get()
    if request is not None and session.info.pop(_NOTED, False):
        request.noted = False

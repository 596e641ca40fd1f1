"""`Idempotency-Key`: the same request again is answered with the first one's answer and does nothing."""

import hashlib
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from configs.errors import ConflictError
from infra.adapters.catalog.session import one_by_one
from infra.adapters.catalog.tables import IdempotencyKey
from infra.adapters.catalog.tables.base import now

KEPT_S = 24 * 3600
MAX_KEY_CHARS = 256


class RepeatedKeyError(ConflictError):
    """An `Idempotency-Key` comes back with another request."""


@dataclass(frozen=True)
class Repeat:
    """A key that the caller chose, and the hash of what it stands for."""

    key: str
    request_hash: str

    @classmethod
    def of(cls, key: str, *request: str) -> "Repeat":
        """Bind a key to the parts of a request."""
        return cls(key=key, request_hash=hashlib.sha256("\0".join(request).encode()).hexdigest())


def recall(session: Session, org: str, repeat: Repeat | None) -> str | None:
    """Return the id that was answered the first time; None if this is the first time, or no key was sent.

    Raises:
        RepeatedKeyError: If the key came with another request.
    """
    if repeat is None:
        return None
    one_by_one(session, f"repeat/{org}/{repeat.key}")
    session.execute(delete(IdempotencyKey).where(IdempotencyKey.org == org, IdempotencyKey.until <= now()))
    known = session.get(IdempotencyKey, (org, repeat.key))
    if known is None:
        return None
    if known.request_hash != repeat.request_hash:
        raise RepeatedKeyError("This Idempotency-Key came with another request before: choose a new one")
    return str(known.answer.get("id"))


def keep(session: Session, org: str, repeat: Repeat | None, answer: str) -> None:
    """Remember the answer in the unit of the effect."""
    if repeat is None:
        return
    until: Any = session.scalar(select(now() + KEPT_S))
    session.add(
        IdempotencyKey(org=org, key=repeat.key, request_hash=repeat.request_hash, answer={"id": answer}, until=until)
    )

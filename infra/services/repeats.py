"""`Idempotency-Key`: the same request again is answered with the first one's answer and does nothing."""

import base64
import hashlib
import json
from dataclasses import dataclass

from pydantic import BaseModel
from sqlalchemy import Select, select

from configs.errors import CorruptError, InvalidRequestError
from infra.adapters.catalog.repeats import Kept, Once, RepeatedKeyError, held, note
from infra.adapters.catalog.tables import IdempotencyKey
from infra.adapters.catalog.tables.base import now
from infra.adapters.security.vault import Sealed
from infra.services import people
from infra.services.callers import Caller
from infra.wiring import Parts

MAX_KEY_CHARS = 256
# They lie sealed in the catalog, for a day each.
MAX_ANSWER_CHARS = 2**20
_OTHER = "This Idempotency-Key came with another request before: choose a new one"


@dataclass(frozen=True)
class Repeat:
    """A key that the caller chose, and the hash of what it stands for."""

    key: str
    request_hash: str

    @classmethod
    def of(cls, key: str, *request: str) -> "Repeat":
        """Bind a key to the parts of a request."""
        return cls(key=key, request_hash=hashlib.sha256("\0".join(request).encode()).hexdigest())

    @classmethod
    def of_body(cls, key: str, method: str, path: str, body: bytes) -> "Repeat":
        """Bind a key to a request; two spellings of the same JSON are the same."""
        try:
            said = json.dumps(json.loads(body), sort_keys=True)
        except (ValueError, RecursionError):  # no JSON, or nested without end: its route refuses it
            said = body.hex()
        return cls.of(key, method, path, said)

    def by(self, caller: Caller) -> "Repeat":
        """Bind it to who asks, too: an answer may show a secret, and is nobody else's."""
        return self.of(self.key, self.request_hash, caller.subject)


class Answered(BaseModel):
    """An answer as it was sent."""

    status: int
    content_type: str
    body: str


def opened(parts: Parts, secret: str, repeat: Repeat) -> Once | Answered:
    """Return the answer that this request had before, or how to note it: it is the first, or its answer was lost.

    Raises:
        UnauthorizedError: If the key or token is not valid.
        RepeatedKeyError: If the key came with another request.
    """
    caller = people.identify(parts, secret)
    org, repeat = caller.org, repeat.by(caller)
    with parts.catalog.read() as session:
        row = session.scalar(_row(org, repeat.key))
    if row is None:
        return Once(org, repeat.key, repeat.request_hash)
    if row.request_hash != repeat.request_hash:
        raise RepeatedKeyError(_OTHER)
    return _answer(parts, row) or Once(org, repeat.key, repeat.request_hash)


def answer_of(parts: Parts, org: str, key: str) -> Answered | None:
    """Return the answer that is kept under a key."""
    with parts.catalog.read() as session:
        row = session.scalar(_row(org, key))
    return None if row is None else _answer(parts, row)


def keep_answer(parts: Parts, asked: Once, answer: Answered) -> None:
    """Keep what a request was answered, sealed: it may show a new secret. A very large one is not kept.

    What writes no audit row, such as a lease, is noted only here: after it was done, not with it.
    """
    if len(answer.body) > MAX_ANSWER_CHARS:
        return
    sealed = parts.vault.seal(asked.org, answer.model_dump_json(), f"repeat/{asked.key}")
    said = {"key_id": sealed.key_id, "sealed": base64.b64encode(sealed.ciphertext).decode()}
    with parts.catalog.write() as session:
        row = held(session, asked)
        if row is None:
            note(session, asked, Kept(**said))
        elif row.request_hash == asked.request_hash:  # else another request came in between under the same key
            row.answer = Kept.model_validate(row.answer).model_copy(update=said).model_dump()


def _answer(parts: Parts, row: IdempotencyKey) -> Answered | None:
    kept = Kept.model_validate(row.answer)
    if kept.key_id is None or kept.sealed is None:
        return None
    sealed = Sealed(key_id=kept.key_id, ciphertext=base64.b64decode(kept.sealed))
    try:
        return Answered.model_validate_json(parts.vault.open(row.org, sealed, f"repeat/{row.key}"))
    except (InvalidRequestError, CorruptError):
        return None  # sealed with a key that two rotations have dropped since


def _row(org: str, key: str) -> Select[tuple[IdempotencyKey]]:
    return select(IdempotencyKey).where(
        IdempotencyKey.org == org, IdempotencyKey.key == key, IdempotencyKey.until > now()
    )

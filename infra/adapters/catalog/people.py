"""Questions about organisations, keys and tokens."""

from collections.abc import Sequence

from sqlalchemy import bindparam, delete, select, update
from sqlalchemy.orm import Session

from configs.errors import NotFoundError
from infra.adapters.catalog.tables import ApiKey, BearerToken, Organisation
from infra.adapters.catalog.tables.base import now

# Asked at every request, so built once.
_KEY = select(ApiKey).where(ApiKey.secret_hash == bindparam("hash"), ApiKey.revoked_at.is_(None))
_KEY_OF_TOKEN = (
    select(ApiKey)
    .join(BearerToken, BearerToken.key_id == ApiKey.id)
    .where(BearerToken.token_hash == bindparam("hash"), BearerToken.until > now(), ApiKey.revoked_at.is_(None))
)


def ensure_org(session: Session, org: str) -> None:
    """Make the organisation if there is none of this id."""
    if session.get(Organisation, org) is None:
        session.add(Organisation(id=org))
        session.flush()


def valid_key(session: Session, secret_hash: str) -> ApiKey | None:
    """Return the key with this hash, unless it was revoked."""
    return session.scalar(_KEY, {"hash": secret_hash})


def key_of_token(session: Session, token_hash: str) -> ApiKey | None:
    """Return the key for which this token was given, while both are valid."""
    return session.scalar(_KEY_OF_TOKEN, {"hash": token_hash})


def add_token(session: Session, key_id: str, token_hash: str, life_s: float) -> None:
    """Keep a token of the key for so many seconds; the key's tokens that have ended go."""
    session.execute(delete(BearerToken).where(BearerToken.key_id == key_id, BearerToken.until <= now()))
    until = session.scalar(select(now())) or 0.0
    session.add(BearerToken(token_hash=token_hash, key_id=key_id, until=until + life_s))


def remove_token(session: Session, token_hash: str) -> None:
    """End a token."""
    session.execute(delete(BearerToken).where(BearerToken.token_hash == token_hash))


def keys(session: Session, org: str | None) -> Sequence[ApiKey]:
    """Return an organisation's keys, or all, the oldest first."""
    query = select(ApiKey).order_by(ApiKey.created_at, ApiKey.id)
    return session.scalars(query if org is None else query.where(ApiKey.org == org)).all()


def note_use(session: Session, key_id: str) -> None:
    """Note that a key is used now."""
    session.execute(update(ApiKey).where(ApiKey.id == key_id).values(used_at=now()))


def revoke(session: Session, key_id: str, org: str | None) -> ApiKey:
    """End a key and, with it, its tokens.

    Raises:
        NotFoundError: If the organisation has no such key.
    """
    key = session.get(ApiKey, key_id)
    if key is None or (org is not None and key.org != org):
        raise NotFoundError("key", key_id)
    if key.revoked_at is None:
        key.revoked_at = session.scalar(select(now()))
    return key

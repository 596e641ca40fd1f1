"""Keys, logging in, and who a request comes from."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from configs.errors import InvalidRequestError, UnauthorizedError
from infra.adapters.catalog import audit
from infra.adapters.catalog import people as catalog
from infra.adapters.catalog.tables import ApiKey
from infra.adapters.catalog.tables.base import new_id
from infra.adapters.security import tokens
from infra.services.callers import Caller, Right, Role, allow
from infra.services.operating.pages import HOME_ORG
from infra.wiring import Parts

OPERATOR = "operator"
HERE = "this machine"
# Every request uses a key: noting each would make reads writes.
USED_EVERY_S = 3600.0
_MAX_NAME_CHARS = 200


@dataclass(frozen=True)
class NewKey:
    """A key that was just made. `secret` is shown now and never again."""

    id: str
    secret: str
    org: str
    role: Role


@dataclass(frozen=True)
class Login:
    """What a key was exchanged for."""

    user_id: str
    token: str


def operator(org: str) -> Caller:
    """Return the person at this machine's command line, who has the key file and the catalog anyway."""
    return Caller(org=org, subject=OPERATOR, name=OPERATOR, role=Role.ADMIN)


def somebody_here() -> Caller:
    """Return whoever is on this machine, where nobody is asked for a key: what is an admin's still takes one."""
    return Caller(org=HOME_ORG, subject=HERE, name=HERE, role=Role.ENGINEER)


def create_key(parts: Parts, caller: Caller, *, name: str, role: Role, org: str | None = None) -> NewKey:
    """Make a key of the caller's organisation; the operator may name another one, which is made if it is new.

    Raises:
        ForbiddenError: If the caller may not.
        InvalidRequestError: If the name is empty or too long.
    """
    allow(caller, Right.MANAGE_KEYS)
    if not 0 < len(name) <= _MAX_NAME_CHARS:
        msg = f"A key's name has 1 to {_MAX_NAME_CHARS} characters, not {len(name)}: say who or what uses it"
        raise InvalidRequestError(msg)
    owner = org if org is not None and caller.subject == OPERATOR else caller.org
    made = NewKey(id=new_id(), secret=tokens.new_key(), org=owner, role=role)
    with parts.catalog.write() as session:
        catalog.ensure_org(session, owner)
        key = ApiKey(id=made.id, org=owner, name=name, role=role, secret_hash=tokens.hash_secret(made.secret))
        session.add(key)
        audit.record(session, owner, caller.subject, "key.create", made.id, role=str(role))
    return made


def list_keys(parts: Parts, caller: Caller) -> Sequence[ApiKey]:
    """Return the organisation's keys without their secrets, which nobody knows; the operator's list has all.

    Raises:
        ForbiddenError: If the caller may not.
    """
    allow(caller, Right.MANAGE_KEYS)
    with parts.catalog.read() as session:
        return catalog.keys(session, _scope(caller))


def revoke_key(parts: Parts, caller: Caller, key_id: str) -> None:
    """End a key and every token that was given for it, at once.

    Raises:
        ForbiddenError: If the caller may not.
        NotFoundError: If the organisation has no such key.
    """
    allow(caller, Right.MANAGE_KEYS)
    with parts.catalog.write() as session:
        key = catalog.revoke(session, key_id, _scope(caller))
        audit.record(session, key.org, caller.subject, "key.revoke", key_id)


def login(parts: Parts, secret: str) -> Login:
    """Exchange a key for a bearer token of 24 hours.

    Raises:
        UnauthorizedError: If it is no valid key.
    """
    token = tokens.new_token()
    with parts.catalog.write() as session:
        key = catalog.valid_key(session, tokens.hash_secret(secret[: tokens.MAX_SECRET_CHARS]))
        if key is None or not tokens.matches(secret, key.secret_hash):
            raise UnauthorizedError("Credentials error: Invalid NGC_API_KEY")
        catalog.add_token(session, key.id, tokens.hash_secret(token), tokens.TOKEN_LIFE_S)
        caller = _caller(key)
    return Login(user_id=caller.user_id, token=token)


def logout(parts: Parts, token: str) -> None:
    """End a bearer token; one that has ended already stays so."""
    with parts.catalog.write() as session:
        catalog.remove_token(session, tokens.hash_secret(token[: tokens.MAX_SECRET_CHARS]))


def identify(parts: Parts, secret: str) -> Caller:
    """Return who shows this bearer token or API key.

    Raises:
        UnauthorizedError: If it is neither, has ended or was revoked.
    """
    hashed = tokens.hash_secret(secret[: tokens.MAX_SECRET_CHARS])
    with parts.catalog.read() as session:
        find = catalog.key_of_token if secret.startswith(tokens.TOKEN_PREFIX) else catalog.valid_key
        found = find(session, hashed)
    if found is None:
        raise UnauthorizedError("The token or key is not valid, has ended or was revoked: log in again")
    # Once an hour, not at every request: reading would else become writing, and writers wait for each other.
    if found.used_at is None or time.time() - found.used_at > USED_EVERY_S:
        with parts.catalog.write() as session:
            catalog.note_use(session, found.id)
    return _caller(found)


def _caller(key: ApiKey) -> Caller:
    return Caller(org=key.org, subject=key.id, name=key.name, role=Role(key.role))


def _scope(caller: Caller) -> str | None:
    return None if caller.subject == OPERATOR else caller.org

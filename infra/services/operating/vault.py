"""The vault's keys: another one from now on, and whether this machine has the right ones."""

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from configs.errors import CorruptError, InvalidRequestError
from configs.failpoints import fail_point
from infra.adapters.catalog import audit, secrets
from infra.adapters.catalog.locks import one_by_one
from infra.adapters.catalog.tables import VaultValue
from infra.services.callers import Caller, Right, allow
from infra.wiring import Parts

_BATCH = 50
# What every process that needs the keys opens first.
_TEST_ID, _TEST_ORG, _TEST_VALUE = "test", "", "the keys are here"


def ensure(parts: Parts) -> None:
    """Make the test value if there is none yet; else open it.

    Raises:
        InvalidRequestError: If this machine's key file is not the installation's.
    """
    with parts.catalog.write() as session:
        # Processes that start at once on PostgreSQL would both find none, and the second insert would fail its start.
        one_by_one(session, "vault/test")
        if session.get(VaultValue, _TEST_ID) is None:
            session.add(secrets.sealed(parts.vault, _TEST_ORG, _TEST_VALUE, _TEST_ID))
            return
    check(parts)


def check(parts: Parts) -> None:
    """Open the test value.

    Raises:
        InvalidRequestError: If this machine's key file is not the installation's.
    """
    with parts.catalog.read() as session:
        row = session.get(VaultValue, _TEST_ID)
    if row is None:
        return  # nothing was ever prepared, so nothing is sealed either
    try:
        secrets.opened(parts.vault, row)
    except (InvalidRequestError, CorruptError) as error:
        raise InvalidRequestError(
            f"This machine's key file does not open the vault's test value: {error} (TEACHBACK_KEY_FILE)"
        ) from None


def rotate(parts: Parts, caller: Caller) -> int:
    """Seal every value with a new key, a few at a time, and return how many; keys that nothing uses are dropped.

    A kill in between leaves every value open: both keys stay until a later rotation finds the older one unused.

    Raises:
        ForbiddenError: If the caller may not.
        CorruptError: If a value does not open: nothing is lost, the keys stay.
    """
    allow(caller, Right.MANAGE_KEYS)
    with parts.catalog.read() as session:
        used = set(session.scalars(select(VaultValue.key_id).distinct()))
    # The file first: a value sealed with a key that no file has would be lost.
    key_id = parts.vault.rotate(keep=used)
    done = 0
    while True:
        with parts.catalog.write() as session:
            moved = _move(parts, session, key_id)
            if not moved:
                audit.record(session, None, caller.subject, "vault.rotate", key_id, values=done)
                return done
        done += moved
        fail_point(parts.settings, "vault-batch")


def _move(parts: Parts, session: Session, key_id: str) -> int:
    """Seal up to a batch of values anew; a row that changed meanwhile is left to the next batch."""
    rows = session.scalars(select(VaultValue).where(VaultValue.key_id != key_id).limit(_BATCH)).all()
    for row in rows:
        anew = secrets.sealed(parts.vault, row.org, secrets.opened(parts.vault, row), row.id)
        same = (VaultValue.id == row.id, VaultValue.key_id == row.key_id)
        fresh = {"key_id": anew.key_id, "ciphertext": anew.ciphertext}
        session.execute(update(VaultValue).where(*same).values(fresh))
    return len(rows)

"""Secrets as rows: sealed by the vault and bound to the row's id."""

from infra.adapters.catalog.tables import VaultValue
from infra.adapters.catalog.tables.base import new_id
from infra.adapters.security.vault import Sealed, Vault


def sealed(vault: Vault, org: str, plaintext: str, row_id: str = "") -> VaultValue:
    """Return a new row with a value in it, of this id or a fresh one; the caller adds it to its unit."""
    row_id = row_id or new_id()
    kept = vault.seal(org, plaintext, row_id)
    return VaultValue(id=row_id, org=org, key_id=kept.key_id, ciphertext=kept.ciphertext)


def opened(vault: Vault, row: VaultValue) -> str:
    """Return a row's value.

    Raises:
        InvalidRequestError: If its key is not in this machine's key file.
        CorruptError: If it was changed, or moved here from another row.
    """
    return vault.open(row.org, Sealed(key_id=row.key_id, ciphertext=row.ciphertext), row.id)

"""Values at rest."""

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from configs.errors import CorruptError, InvalidRequestError
from infra.adapters.security.redact import Redactor
from infra.adapters.security.vault import Sealed, Vault


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "home" / "keys.json"


def test_what_was_sealed_opens_again_also_in_another_process(path: Path) -> None:
    sealed = Vault(path).seal("clinic", "s3cret", "row-1")
    assert b"s3cret" not in sealed.ciphertext
    assert Vault(path).open("clinic", sealed, "row-1") == "s3cret"


@pytest.mark.parametrize(("org", "row"), [("clinic", "row-2"), ("other", "row-1"), ("cli", "nicrow-1")])
def test_a_ciphertext_moved_to_another_row_or_organisation_does_not_open(path: Path, org: str, row: str) -> None:
    vault = Vault(path)
    sealed = vault.seal("clinic", "s3cret", "row-1")
    with pytest.raises(CorruptError, match="does not open"):
        vault.open(org, sealed, row)


def test_a_changed_ciphertext_does_not_open(path: Path) -> None:
    vault = Vault(path)
    sealed = vault.seal("clinic", "s3cret", "row-1")
    changed = Sealed(key_id=sealed.key_id, ciphertext=sealed.ciphertext[:-1] + bytes([sealed.ciphertext[-1] ^ 1]))
    with pytest.raises(CorruptError):
        vault.open("clinic", changed, "row-1")


def test_the_key_file_is_readable_by_its_owner_only(path: Path) -> None:
    Vault(path).seal("clinic", "s3cret", "row-1")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in path.parent.iterdir()] == ["keys.json"]


def test_a_key_file_that_others_may_read_is_refused(path: Path) -> None:
    Vault(path).seal("clinic", "s3cret", "row-1")
    path.chmod(0o644)
    with pytest.raises(InvalidRequestError, match="chmod 600"):
        Vault(path).seal("clinic", "s3cret", "row-1")


def test_several_that_make_the_key_file_at_once_use_the_same_keys(path: Path) -> None:
    vaults = [Vault(path) for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        sealed = list(pool.map(lambda vault: vault.seal("clinic", "s3cret", "row-1"), vaults))
    assert {Vault(path).open("clinic", value, "row-1") for value in sealed} == {"s3cret"}


def test_after_a_rotation_old_values_open_and_hashes_stay(path: Path) -> None:
    vault, other = Vault(path), Vault(path)
    old, hashed = vault.seal("clinic", "old", "row-1"), vault.keyed_hash("clinic", "patient 7")
    other.keyed_hash("clinic", "patient 7")
    key_id = vault.rotate()
    fresh = vault.seal("clinic", "new", "row-2")
    assert fresh.key_id == key_id != old.key_id
    assert vault.open("clinic", old, "row-1") == "old"
    assert other.open("clinic", fresh, "row-2") == "new"
    assert vault.keyed_hash("clinic", "patient 7") == hashed != vault.keyed_hash("other", "patient 7")


def test_a_key_that_is_not_in_the_ring_is_named(path: Path, tmp_path: Path) -> None:
    sealed = Vault(path).seal("clinic", "s3cret", "row-1")
    with pytest.raises(InvalidRequestError, match="key file of the installation"):
        Vault(tmp_path / "elsewhere.json").open("clinic", sealed, "row-1")


def test_what_is_opened_is_hidden_from_logs_from_then_on(path: Path) -> None:
    redactor = Redactor()
    vault = Vault(path, redactor=redactor)
    sealed = vault.seal("clinic", '{"username": "reader", "password": "pa55word"}', "row-1")
    vault.open("clinic", sealed, "row-1")
    assert redactor.redact("login reader:pa55word refused") == "login [hidden]:[hidden] refused"

"""Values at rest: another key, kills in between, keys of another installation, and secrets in what jobs are asked."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import select

from configs.errors import CorruptError, InvalidRequestError
from configs.settings import Settings
from configs.specs.round import RoundSpec
from configs.specs.train import TrainSpec
from infra.adapters.catalog.secrets import opened
from infra.adapters.catalog.tables import Audit, VaultValue
from infra.adapters.catalog.tables.base import new_id
from infra.adapters.security.vault import Sealed, Vault
from infra.services import people
from infra.services.operating import vault
from infra.wiring import Parts, open_parts
from tasks.rounds.jobs.secrets import Sealer
from tests.builders import ORG

ROOT = Path(__file__).resolve().parents[3]


def _fill(parts: Parts, count: int) -> None:
    with parts.catalog.write() as session:
        for number in range(count):
            row_id = new_id()
            sealed = parts.vault.seal(ORG, f"secret {number}", row_id)
            session.add(VaultValue(id=row_id, org=ORG, key_id=sealed.key_id, ciphertext=sealed.ciphertext))


def _opened(parts: Parts, fresh: Vault) -> list[str]:
    with parts.catalog.read() as session:
        rows = session.scalars(select(VaultValue).where(VaultValue.org == ORG)).all()
    return sorted(fresh.open(row.org, Sealed(key_id=row.key_id, ciphertext=row.ciphertext), row.id) for row in rows)


def _keys_used(parts: Parts) -> set[str]:
    with parts.catalog.read() as session:
        return set(session.scalars(select(VaultValue.key_id)))


def test_after_a_rotation_every_value_opens_with_the_new_key_also_where_the_old_ring_was_in_use(parts: Parts) -> None:
    vault.ensure(parts)
    _fill(parts, 120)
    before = _opened(parts, parts.vault)
    rotating = Parts(parts.settings)
    try:
        assert vault.rotate(rotating, people.operator(ORG)) == 121
    finally:
        rotating.close()
    assert _opened(parts, parts.vault) == before == sorted(f"secret {number}" for number in range(120))
    [used] = _keys_used(parts)
    assert parts.vault.seal(ORG, "later", "row").key_id == used, "a process that runs seals with the new key"
    with parts.catalog.read() as session:
        assert [row.detail for row in session.scalars(select(Audit))] == [{"values": 121}]


def test_a_rotation_that_is_killed_loses_nothing_and_the_next_one_finishes(sqlite_url: str, tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home", catalog_url=sqlite_url)
    parts = open_parts(settings)
    vault.ensure(parts)
    _fill(parts, 120)
    environment = {
        **os.environ,
        "TEACHBACK_CATALOG_URL": sqlite_url,
        "TEACHBACK_TESTING": "1",
        "TEACHBACK_FAILPOINT": "vault-batch",
    }
    command = [str(Path(sys.executable).parent / "teachback"), "vault", "rotate", "--home", str(settings.home)]
    killed = subprocess.run(command, env=environment, cwd=ROOT, check=False, timeout=120)
    assert killed.returncode == -9
    assert len(_keys_used(parts)) == 2, "killed half-way"
    assert len(_opened(parts, Vault(settings.key_path))) == 120
    vault.rotate(parts, people.operator(ORG))
    assert len(_keys_used(parts)) == 1
    assert len(_opened(parts, Vault(settings.key_path))) == 120
    parts.close()


def test_a_worker_with_another_installations_keys_does_not_start_and_says_so(sqlite_url: str, tmp_path: Path) -> None:
    parts = open_parts(Settings(home=tmp_path / "home", catalog_url=sqlite_url))
    vault.ensure(parts)
    vault.check(parts)
    parts.close()
    Vault(tmp_path / "other.json").seal("", "x", "y")
    environment = {
        **os.environ,
        "TEACHBACK_HOME": str(tmp_path / "elsewhere"),
        "TEACHBACK_CATALOG_URL": sqlite_url,
        "TEACHBACK_KEY_FILE": str(tmp_path / "other.json"),
        "TEACHBACK_PREFECT_API_URL": "http://127.0.0.1:9/api",
    }
    command = [sys.executable, "-m", "infra.doors.cli.worker", "rounds"]
    ended = subprocess.run(command, env=environment, cwd=ROOT, check=False, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 1
    assert "does not open the vault's test value" in ended.stderr
    assert "TEACHBACK_KEY_FILE" in ended.stderr


def test_a_value_under_the_test_values_row_of_other_keys_is_refused(parts: Parts, tmp_path: Path) -> None:
    vault.ensure(parts)
    other = Parts(parts.settings.model_copy(update={"key_file": tmp_path / "other.json"}))
    with pytest.raises(InvalidRequestError, match="test value"):
        vault.ensure(other)
    other.close()


def test_secrets_in_a_spec_become_references_that_only_the_organisation_opens(parts: Parts) -> None:
    train = TrainSpec(
        tracking_uri="https://ann:pa55@mlflow.example/x",
        overrides={"a#access_token": "t0ken-1", "tokenizer": "words", "deep": {"api_key": "t0ken-1", "num_tokens": 5}},
    )
    with parts.catalog.write() as session:
        kept = Sealer(parts, session, ORG)
        safe = kept.spec(RoundSpec(train=train))
        again = kept.values({"train_spec": {"password": "t0ken-1"}, "list": [{"secret": "t0ken-2"}], "none": None})
    text = safe.model_dump_json() + str(again)
    for secret in ("pa55", "t0ken"):
        assert secret not in text
    assert safe.train.overrides["tokenizer"] == "words"
    assert safe.train.overrides["deep"]["num_tokens"] == 5
    assert safe.train.overrides["a#access_token"] == safe.train.overrides["deep"]["api_key"]
    with parts.catalog.read() as session:
        rows = session.scalars(select(VaultValue).where(VaultValue.org == ORG)).all()
    values = {f"vault:{row.id}": opened(parts.vault, row) for row in rows}
    assert values[safe.train.overrides["a#access_token"]] == "t0ken-1"
    [user] = [reference for reference, value in values.items() if value == "ann:pa55"]
    assert safe.train.tracking_uri == f"https://{user}@mlflow.example/x"
    for row in rows:
        with pytest.raises(CorruptError):
            parts.vault.open("elsewhere", Sealed(key_id=row.key_id, ciphertext=row.ciphertext), row.id)
    assert "t0ken-1" not in parts.redactor.redact("said t0ken-1")

"""`teachback keys` on a real home."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from configs.errors import NotFoundError, UnauthorizedError
from configs.settings import Settings
from infra.doors.cli.keys import app
from infra.services import people
from infra.services.callers import Role
from infra.wiring import open_parts


def keys(home: Path, *words: str) -> str:
    done = CliRunner().invoke(app, [*words, "--home", str(home)], catch_exceptions=False, standalone_mode=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_a_new_key_is_printed_alone_and_works_until_it_is_revoked(tmp_path: Path) -> None:
    secret = keys(tmp_path, "create", "--name", "Ada", "--role", "engineer", "--org", "A new one").strip()
    assert " " not in secret
    parts = open_parts(Settings(home=tmp_path))
    caller = people.identify(parts, secret)
    assert (caller.org, caller.name, caller.role) == ("A new one", "Ada", Role.ENGINEER)
    listed = json.loads(keys(tmp_path, "list", "--json"))
    assert [(row["name"], row["revoked"]) for row in listed] == [("Ada", None)]
    assert secret not in json.dumps(listed)
    keys(tmp_path, "revoke", listed[0]["id"])
    with pytest.raises(UnauthorizedError):
        people.identify(parts, secret)
    assert json.loads(keys(tmp_path, "list", "--json"))[0]["revoked"]
    parts.close()


def test_revoking_an_unknown_key_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        keys(tmp_path, "revoke", "nobody")


def test_an_empty_list_says_how_to_make_a_key(tmp_path: Path) -> None:
    assert "keys create" in keys(tmp_path, "list")

"""`teachback doctor` on homes in good and bad order."""

import json
from pathlib import Path

from typer.testing import CliRunner

from infra.doors.cli.doctor import app


def findings(home: Path) -> tuple[int, dict[str, dict[str, str]]]:
    done = CliRunner().invoke(app, ["--home", str(home), "--json"])
    return done.exit_code, {row["what"]: row for row in json.loads(done.stdout)}


def test_a_home_that_others_can_read_is_bad(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    status, found = findings(tmp_path)
    assert status == 1
    assert found["home"]["state"] == "bad"
    assert "chmod 700" in found["home"]["said"]


def test_a_private_home_is_good_and_the_cage_is_named_for_what_it_is(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    _, found = findings(tmp_path)
    assert found["home"]["state"] == found["disk"]["state"] == found["Python"]["state"] == "good"
    assert found["up"]["said"] == "does not run"
    cage = found["cage"]
    assert cage["state"] == ("good" if cage["said"].startswith("bubblewrap") else "weak")


def test_a_catalog_that_is_none_is_bad(tmp_path: Path) -> None:
    (tmp_path / "catalog.db").write_text("this is no database, but long enough to look like a file of one")
    _, found = findings(tmp_path)
    assert found["catalog"]["state"] == "bad"

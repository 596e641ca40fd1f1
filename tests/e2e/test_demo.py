"""`teachback demo` shows that the loop learns, and says so in its table."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, "-c", "from infra.doors.cli.main import main; main()"]


def test_the_demo_learns_and_beats_what_needs_no_model(tmp_path: Path) -> None:
    table = tmp_path / "table.json"
    arguments = ["demo", "--home", str(tmp_path / "home"), "--rounds", "2", "--exit", "--json", str(table)]
    done = subprocess.run([*COMMAND, *arguments], cwd=ROOT, capture_output=True, text=True, check=False, timeout=1500)
    assert done.returncode == 0, done.stdout + done.stderr
    said = json.loads(table.read_text())
    rounds = said["rounds"]
    assert [row["round"] for row in rounds] == [1, 2]
    assert [row["labels"] for row in rounds] == sorted(row["labels"] for row in rounds)
    assert rounds[0]["published"]
    assert all(row["metric_kind"] == "holdout" for row in rounds)
    assert all(row["train_seconds"] > 0 and row["start_seconds"] > 0 for row in rounds)
    assert said["start"] < 0.2
    assert said["final"] > 0.6
    assert said["final"] > max(said["baseline"], said["template"])
    assert rounds[-1]["key_metric"] > 0.6
    assert "random warp of one real head" in done.stdout

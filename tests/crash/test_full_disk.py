"""A disk that is full, really: a file system of a few MiB that bubblewrap mounts for the process that tries it."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fixtures_installation import ROOT
from tests.processes import skip_or_fail

MIB = 2**20


@pytest.mark.parametrize(("case", "size"), [("blobs", 4 * MIB), ("catalog", 8 * MIB), ("cache", 4 * MIB)])
def test_nothing_is_lost_or_left_half_written_where_the_disk_is_full(case: str, size: int, tmp_path: Path) -> None:
    small, elsewhere = tmp_path / "small", tmp_path / "elsewhere"
    small.mkdir()
    elsewhere.mkdir()
    caged = [shutil.which("bwrap") or "", "--dev-bind", "/", "/", "--size", str(size), "--tmpfs", str(small)]
    if not caged[0] or subprocess.run([*caged, "true"], check=False, capture_output=True).returncode != 0:
        skip_or_fail("No small file system can be mounted here: apt-get install bubblewrap.")
    command = [*caged, sys.executable, "-m", "tests.crash.full_disk", case, str(small), str(elsewhere)]
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]

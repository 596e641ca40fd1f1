"""What a killed process left of its temporary files is gone when the next one starts; a living one's is not."""

import signal
import subprocess
import sys
from pathlib import Path

from tests.fixtures_installation import ROOT
from tests.processes import end, wait_until

_WRITES = """
import sys, tempfile, time
from pathlib import Path
from infra.adapters.cache.scratch import use_scratch
use_scratch(Path(sys.argv[1]))
with tempfile.TemporaryDirectory(prefix="label-") as folder:
    (Path(folder) / "label.nii").write_bytes(b"a patient's")
    print("written", flush=True)
    time.sleep(float(sys.argv[2]))
"""


def _start(folder: Path, seconds: float) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-c", _WRITES, str(folder), str(seconds)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, start_new_session=True)
    assert process.stdout is not None
    assert process.stdout.readline() == b"written\n"
    return process


def test_what_a_killed_process_wrote_goes_with_the_next_one_s_start_and_a_living_one_s_stays(tmp_path: Path) -> None:
    living, dying = _start(tmp_path, 600), _start(tmp_path, 600)
    end(dying, signal.SIGKILL)
    assert len(list(tmp_path.glob("*/label-*/label.nii"))) == 2

    ending = _start(tmp_path, 0)
    wait_until(lambda: ending.poll() is not None, "the process to end")

    assert len(list(tmp_path.glob("*/label-*/label.nii"))) == 1
    assert len(list(tmp_path.iterdir())) == 2, "the living one's folder and its lock"
    end(living, signal.SIGKILL)

"""`teachback up` as a person runs it: it gets ready, mends itself, and leaves no process, however it ends."""

import os
import signal
import subprocess
from pathlib import Path

import httpx
import pytest

from infra.doors.cli.supervisor.addresses import read_ports
from tests.e2e import newcomer
from tests.fixtures_installation import ROOT, UP, House, of_home
from tests.processes import wait_until

pytestmark = pytest.mark.slow
WORKER = ("infra.adapters.orchestration.worker", "rounds")


def test_up_gets_ready_mends_itself_and_leaves_no_process(house: House, tmp_path: Path) -> None:
    """The session's installation lives once more after this, wherever a later test needs it.

    Its second start is a newcomer's, with a folder of images: what they do in 3D Slicer ends in a round.
    """
    installation, home = house.running(), house.home
    _answers(installation.address, home)
    assert home.stat().st_mode & 0o777 == 0o700
    assert house.process is not None

    second = subprocess.run(
        [*UP, "--home", str(home), "--port", "0"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert second.returncode == 1
    assert second.stderr.count("\n") == 1
    assert str(house.process.pid) in second.stderr

    wait_until(lambda: bool(installation.processes(*WORKER)), "the worker, once it has shown the vault's keys")
    (worker,) = installation.processes(*WORKER)
    worker.kill()
    wait_until(lambda: [now.pid for now in installation.processes(*WORKER)] not in ([], [worker.pid]), "the worker")

    ports = read_ports(home)
    house.process.send_signal(signal.SIGTERM)
    assert house.process.wait(timeout=120) == 0
    assert of_home(home) == []

    house.options = ("--studies", str(newcomer.make_images(tmp_path / "studies")))
    assert house.running() == installation
    assert read_ports(home) == ports
    newcomer.walk(installation, tmp_path)
    os.kill(house.process.pid, signal.SIGKILL)
    house.process.wait()
    wait_until(lambda: of_home(home) == [], "the end of every process")


def _answers(address: str, home: Path) -> None:
    assert httpx.get(f"{address}/api/v1/health", trust_env=False, timeout=60).text == '"OK"'
    headers = {"Authorization": f"Bearer {(home / 'admin.key').read_text()}"}
    status = httpx.get(f"{address}/api/teachback/v1/status", headers=headers, trust_env=False, timeout=60)
    assert status.json()["health"]["orchestrator"] is True

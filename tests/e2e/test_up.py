"""`teachback up` as a person runs it: it gets ready, mends itself, and leaves no process, however it ends."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from infra.doors.cli.supervisor.addresses import read_ports
from tests.processes import wait_until

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, "-c", "from infra.doors.cli.main import main; main()"]


class Up:
    """A running `teachback up` and what it printed."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.output = (home.parent / "output.txt").open("w+")
        self.process = subprocess.Popen(
            [*COMMAND, "up", "--home", str(home), "--port", "0"],
            cwd=ROOT,
            stdout=self.output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def said(self) -> str:
        return Path(self.output.name).read_text()

    def wait_ready(self) -> str:
        wait_until(
            lambda: "Teachback is ready at " in self.said() or self.process.poll() is not None, "ready", steps=3000
        )
        assert self.process.poll() is None, self.said()
        return next(line for line in self.said().splitlines() if "ready at" in line).rpartition(" ")[2]


def of_home(home: Path) -> list[psutil.Process]:
    """Every process that names *home* in its environment or command."""
    found = []
    for process in psutil.process_iter():
        try:
            words = [*process.environ().values(), *process.cmdline()]
            alive = process.status() != psutil.STATUS_ZOMBIE
        except (psutil.Error, OSError):
            continue
        if alive and process.pid != os.getpid() and any(str(home) in word for word in words):
            found.append(process)
    return found


def part(home: Path, *words: str) -> psutil.Process | None:
    for process in of_home(home):
        try:
            command = process.cmdline()
        except psutil.Error:
            continue
        if all(word in command for word in words):
            return process
    return None


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[], Up]]:
    home = tmp_path / "home"
    started: list[Up] = []

    def begin() -> Up:
        started.append(Up(home))
        return started[-1]

    yield begin
    for up in started:
        up.process.kill()
        up.process.wait()
        up.output.close()
    for process in of_home(home):
        process.kill()


def test_up_gets_ready_mends_itself_and_leaves_no_process(start: Callable[[], Up], tmp_path: Path) -> None:
    """One test for one life, since a start takes ten seconds or more."""
    home = tmp_path / "home"
    up = start()
    address = up.wait_ready()
    assert httpx.get(f"{address}/api/v1/health", trust_env=False, timeout=60).text == '"OK"'
    key = (home / "admin.key").read_text()
    status = httpx.get(
        f"{address}/api/teachback/v1/status", headers={"Authorization": f"Bearer {key}"}, trust_env=False, timeout=60
    )
    assert status.json()["health"]["orchestrator"] is True
    assert home.stat().st_mode & 0o777 == 0o700

    second = subprocess.run(
        [*COMMAND, "up", "--home", str(home), "--port", "0"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert second.returncode == 1
    assert second.stderr.count("\n") == 1
    assert str(up.process.pid) in second.stderr

    worker = part(home, "worker", "rounds")
    assert worker is not None
    worker.kill()
    wait_until(lambda: (now := part(home, "worker", "rounds")) is not None and now.pid != worker.pid, "the worker")

    ports = read_ports(home)
    up.process.send_signal(signal.SIGTERM)
    assert up.process.wait(timeout=120) == 0
    assert of_home(home) == []

    again = start()
    again.wait_ready()
    assert read_ports(home) == ports
    os.kill(again.process.pid, signal.SIGKILL)
    again.process.wait()
    wait_until(lambda: of_home(home) == [], "the end of every process")

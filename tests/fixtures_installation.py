"""A whole installation as a person starts it: `teachback up` on a temporary home, with short leases.

Once per session, since starting it takes as long as a test. When the session ends, none of its processes may be left.
"""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil
import pytest

from infra.adapters.catalog.session import Catalog
from tests.processes import end, free_port, wait_until

ROOT = Path(__file__).resolve().parents[1]
KEY_FILE = "admin.key"
ORG = "local"
# Short, so that what was killed is missed soon; long enough for two busy cores.
SHORT = {
    "TEACHBACK_TESTING": "1",
    "TEACHBACK_ATTEMPT_LEASE_S": "10",
    "TEACHBACK_ATTEMPT_RENEW_S": "1",
    "TEACHBACK_SLOT_LEASE_S": "6",
    "TEACHBACK_SLOT_HEARTBEAT_S": "0.5",
    "TEACHBACK_RECONCILE_S": "1",
    "TEACHBACK_REALTIME_QUOTA": "0",
    "OMP_NUM_THREADS": "1",
}
CALL_S = 120.0


@dataclass(frozen=True)
class Installation:
    """Everything runs."""

    home: Path
    address: str
    key: str = field(repr=False)

    @property
    def base_url(self) -> str:
        """Where the MONAI Cloud dialect's routes of the organisation are."""
        return f"{self.address}/api/v1/orgs/{ORG}"

    def client(self) -> httpx.Client:
        """Return a client with the admin key; paths are below the address."""
        return client(self.address, self.key)

    def catalog(self) -> Catalog:
        """Open the catalog, to look at what no route shows."""
        return Catalog(f"sqlite+pysqlite:///{self.home / 'catalog.db'}")

    def processes(self, *words: str) -> list[psutil.Process]:
        """Return the installation's processes whose command line has all of *words* as arguments."""
        return [process for process in of_home(self.home) if set(words) <= set(command(process))]

    def environment(self, *words: str) -> dict[str, str]:
        """Return the environment of the one process that `processes` finds."""
        (process,) = self.processes(*words)
        return process.environ()


def client(address: str, key: str) -> httpx.Client:
    """Return an HTTP client of the API at *address*."""
    headers = {"Authorization": f"Bearer {key}"}
    return httpx.Client(base_url=address, headers=headers, timeout=CALL_S, trust_env=False)


def of_home(home: Path) -> list[psutil.Process]:
    """Return every living process that names *home* in its environment or command line, this one left out."""
    return [process for process in psutil.process_iter() if process.pid != os.getpid() and _names(process, str(home))]


def command(process: psutil.Process) -> list[str]:
    """Return a process's command line; nothing if it is gone."""
    try:
        return process.cmdline()
    except psutil.Error:
        return []


@pytest.fixture(scope="session")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """A running installation; at the session's end it is stopped, and nothing of it may live on."""
    home = tmp_path_factory.mktemp("installation") / "home"
    with running_installation(home) as running:
        yield running
    left = [command(process) for process in of_home(home)]
    assert left == []


@contextmanager
def running_installation(home: Path, settings: Mapping[str, str] = SHORT) -> Iterator[Installation]:
    """Run `teachback up` on *home* until the block ends."""
    port = free_port()
    log, said = home.parent / "up.log", home.parent / "up.out"
    with log.open("wb") as errors, said.open("wb") as output:
        process = subprocess.Popen(
            [Path(sys.executable).parent / "teachback", "up", "--home", str(home), "--port", str(port)],
            env={**os.environ, **settings},
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=errors,
            start_new_session=True,
        )
    try:
        wait_until(
            lambda: process.poll() is not None or "is ready at" in said.read_text(),
            f"`teachback up` to be ready (log: {log}, {home / 'logs'})",
            steps=1500,
        )
        assert process.poll() is None, log.read_text()
        yield Installation(home, f"http://127.0.0.1:{port}", (home / KEY_FILE).read_text().strip())
    finally:
        process.terminate()
        ended(lambda: process.poll() is not None)
        end(process)


def ended(condition: Callable[[], bool]) -> None:
    """Wait until what was told to stop has stopped."""
    wait_until(condition, "`teachback up` to stop everything", steps=900)


def _names(process: psutil.Process, home: str) -> bool:
    try:
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        words = [*process.cmdline(), *process.environ().values()]
    except (psutil.Error, OSError):
        return False
    return any(word == home or f"{home}/" in word for word in words)

"""A whole installation as a person starts it: `teachback up` on a temporary home, with short leases.

One per session, since a start costs fifty seconds of a processor. When it ends, no process may be left.
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
from infra.adapters.security.tls import authorities
from tests.processes import end, wait_until

ROOT = Path(__file__).resolve().parents[1]
UP = (str(Path(sys.executable).parent / "teachback"), "up")
READY = "is ready at "
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
    return httpx.Client(base_url=address, headers=headers, timeout=CALL_S, trust_env=False, verify=authorities())


def of_home(home: Path) -> list[psutil.Process]:
    """Return every living process that names *home* in its environment or command line, this one left out."""
    return [process for process in psutil.process_iter() if process.pid != os.getpid() and _names(process, str(home))]


def command(process: psutil.Process) -> list[str]:
    """Return a process's command line; nothing if it is gone."""
    try:
        return process.cmdline()
    except psutil.Error:
        return []


class House:
    """A home whose `teachback up` starts when somebody needs it, and again when a test has ended it; with `options`.

    Args:
        home: The home folder; its parent gets what `up` says.
        settings: What the environment adds.
    """

    def __init__(self, home: Path, settings: Mapping[str, str] = SHORT) -> None:
        self.home = home
        self.process: subprocess.Popen[bytes] | None = None
        self.options: tuple[str, ...] = ()
        self._settings = settings
        self._said = home.parent / "up.out"

    def running(self) -> Installation:
        """Return the installation, ready; its ports and key are those of its first start."""
        if self.process is None or self.process.poll() is not None:
            self.process = self._start()
        process, log = self.process, self.home.parent / "up.log"
        wait_until(
            lambda: process.poll() is not None or READY in self._said.read_text(),
            f"`teachback up` to be ready (log: {log}, {self.home / 'logs'})",
        )
        assert process.poll() is None, log.read_text()
        (said,) = [line for line in self._said.read_text().splitlines() if READY in line]
        return Installation(self.home, said.rpartition(" ")[2], (self.home / KEY_FILE).read_text().strip())

    def stop(self) -> None:
        """End it in order, and with force where that takes too long."""
        if self.process is not None:
            process = self.process
            if process.poll() is None:
                process.terminate()
            ended(lambda: process.poll() is not None)
            end(process)

    def _start(self) -> "subprocess.Popen[bytes]":
        with (self.home.parent / "up.log").open("ab") as errors, self._said.open("wb") as output:
            return subprocess.Popen(
                [*UP, "--home", str(self.home), "--port", "0", *self.options],
                env={**os.environ, **self._settings},
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
                start_new_session=True,
            )


@pytest.fixture(scope="session")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """The session's one home; when the session ends it is stopped, and nothing of it may live on."""
    home = tmp_path_factory.mktemp("installation") / "home"
    made = House(home)
    try:
        yield made
    finally:
        made.stop()
    left = [command(process) for process in of_home(home)]
    assert left == []


@pytest.fixture
def installation(house: House) -> Installation:
    """The session's installation, running."""
    return house.running()


@contextmanager
def running_installation(home: Path, settings: Mapping[str, str] = SHORT) -> Iterator[Installation]:
    """Run `teachback up` on *home* until the block ends."""
    made = House(home, settings)
    try:
        yield made.running()
    finally:
        made.stop()


def ended(condition: Callable[[], bool]) -> None:
    """Wait until what was told to stop has stopped."""
    wait_until(condition, "`teachback up` to stop everything")


def _names(process: psutil.Process, home: str) -> bool:
    try:
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        words = [*process.cmdline(), *process.environ().values()]
    except (psutil.Error, OSError):
        return False
    return any(word == home or f"{home}/" in word for word in words)

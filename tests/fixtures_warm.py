"""The process that bundle hosts are forked from, once per test session: its imports cost as much as a cold start."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from infra.adapters.compute import warm
from infra.adapters.compute.cage import probe
from infra.adapters.compute.processes import ROOT, warm_command, warm_environment
from tests.processes import end, wait_until

SETTING = "TEACHBACK_WARM_HOST"
_FOLDERS = (
    "contract/test_bundle_hosts.py",
    "contract/test_bundles_of_every_shape.py",
    "crash",
    "e2e",
    "integration/compute",
    "integration/realtime",
    "contract/test_hostile_bundle.py",
)
_STARTERS = tuple(str(ROOT / "tests" / folder) for folder in (*_FOLDERS, "integration/rounds/test_round.py"))


_HELD = pytest.StashKey[ExitStack]()


def pytest_configure(config: pytest.Config) -> None:
    """Where tests run in several processes, start one warm process for all of them before they begin."""
    several = config.getoption("numprocesses", None) and not hasattr(config, "workerinput")
    if not several or SETTING in os.environ or probe() != "bubblewrap":
        return
    held = config.stash[_HELD] = ExitStack()
    folder = Path(held.enter_context(TemporaryDirectory(prefix="teachback-warm-")))
    os.environ[SETTING] = str(held.enter_context(running_warm_host(folder)))
    held.callback(os.environ.pop, SETTING)


def pytest_unconfigure(config: pytest.Config) -> None:
    """End it with the session."""
    if _HELD in config.stash:
        config.stash[_HELD].close()


@pytest.fixture(scope="session")
def warm_host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path | None]:
    """The socket of a warm process that all settings of this session name; None where there is no strong cage.

    With TEACHBACK_WARM_HOST=off there is none, and every host of the session starts cold.
    """
    given = os.environ.get(SETTING)
    if given is not None or probe() != "bubblewrap":
        yield Path(given) if given not in (None, "off") else None
        return
    with running_warm_host(tmp_path_factory.mktemp("warm")) as address:
        if not address.exists():  # bubblewrap works here, and a cage without it does not
            yield None
            return
        os.environ[SETTING] = str(address)
        yield address
        del os.environ[SETTING]


@pytest.fixture(scope="session", autouse=True)
def _warm_host_where_hosts_start(request: pytest.FixtureRequest) -> None:
    """Start it as soon as the session has a test that wants it."""
    if any(str(item.path).startswith(_STARTERS) for item in request.session.items):
        request.getfixturevalue("warm_host")


@contextmanager
def running_warm_host(folder: Path, *, woken: bool = True, **options: float) -> Iterator[Path]:
    """Run a warm process until the block ends; it may still be importing, whoever asks it waits for that."""
    address, said = folder / "run" / "warm.sock", folder / "log.txt"
    with said.open("wb") as log:
        process = subprocess.Popen(
            warm_command(address, **options),
            env=warm_environment(),
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        wait_until(lambda: address.exists() or said.stat().st_size > 0, "the warm host's socket")
        if woken:
            warm.wake(address)
        yield address
    finally:
        end(process)

"""Flow runs that are forked from a warm process: as those that a worker starts, and mended as those are."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from infra.adapters.orchestration.base import RunState
from infra.adapters.orchestration.deployments import deploy
from infra.adapters.orchestration.processes import warm_command, worker_environment
from tests.fixtures_prefect import PrefectServer
from tests.processes import end, wait_until

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).resolve().parents[3]
_FLOW = '''
"""A flow that says who it is, and waits where it is told to."""

import os
import time
from pathlib import Path

from prefect import flow


@flow(name="continual-learning-round")
def continual_learning_round(said: str, wait: bool = False) -> None:
    """Write down the process, then end, or wait for ever."""
    Path(said).write_text(f"{os.getpid()} {os.getppid()}")
    while wait:
        time.sleep(0.1)
'''


class Place:
    """A worker and its warm process, on a checkout whose round does nothing."""

    def __init__(self, folder: Path, server: PrefectServer, stack: ExitStack) -> None:
        self.folder, self.server = folder, server
        self.address = folder / "home" / "run" / "flows.sock"
        root = folder / "checkout"
        (root / "flows").mkdir(parents=True)
        (root / "flows" / "continual_learning_round.py").write_text(_FLOW)
        (root / "infra" / "deploy").mkdir(parents=True)
        ours = (REPOSITORY / "infra" / "deploy" / "prefect.yaml").read_text()
        (root / "infra" / "deploy" / "prefect.yaml").write_text(ours.split("\n\n  - name: default", maxsplit=1)[0])
        deploy(server.url, server.auth, root)
        self.settings = {
            "TEACHBACK_HOME": str(folder / "home"),
            "TEACHBACK_WARM_FLOWS": str(self.address),
            "TEACHBACK_ROOT": str(root),
            "PYTHONPATH": str(REPOSITORY),
        }
        self.warm = self._start_warm()
        stack.callback(end, self.warm)
        stack.enter_context(server.worker("rounds", root, **self.settings))

    def run(self, name: str, *, wait: bool = False) -> str:
        """Start a run and return its id."""
        said = {"said": str(self.folder / name), "wait": wait}
        return self.server.client().start("continual-learning-round/default", said, key=f"{self.folder}-{name}")

    def process(self, name: str) -> tuple[int, int]:
        """Wait until a run says which process it is; return that and its parent."""
        path = self.folder / name
        wait_until(lambda: path.exists() and len(path.read_text().split()) == 2, f"the run {name}")
        pid, parent = path.read_text().split()
        return int(pid), int(parent)

    def ends(self, run: str, *states: RunState) -> None:
        """Wait until Prefect says that a run ended so."""
        wait_until(lambda: self.server.client().state(run) in states, f"the run to be {states}")

    def _start_warm(self) -> "subprocess.Popen[bytes]":
        secret, home = self.server.auth.get_secret_value(), self.server.home
        environment = worker_environment(os.environ, home=home, url=self.server.url, auth=secret, root=REPOSITORY)
        process = subprocess.Popen(
            warm_command(self.address),
            env={**environment, **self.settings},
            cwd=REPOSITORY,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        wait_until(self.address.exists, "the warm process to listen")
        return process


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, prefect_server: PrefectServer) -> Iterator[Place]:
    """One for all tests of this module; the last one kills its warm process."""
    with ExitStack() as stack:
        yield Place(tmp_path_factory.mktemp("place"), prefect_server, stack)


def test_the_imports_of_the_flows_start_no_thread_however_many_libraries_are_told_to() -> None:
    code = "from infra.adapters.orchestration.warm import import_everything; import_everything()"
    environment = {**os.environ, "OMP_NUM_THREADS": "4", "OPENBLAS_NUM_THREADS": "4"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=REPOSITORY, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_a_run_is_forked_ends_well_and_says_so_in_its_log(place: Place) -> None:
    run = place.run("ends")

    assert place.process("ends")[1] == place.warm.pid
    place.ends(run, RunState.COMPLETED)
    log = place.folder / "home" / "logs" / "flows.log"
    wait_until(lambda: "Finished in state Completed" in log.read_text(), "its log to say so")


def test_a_run_that_is_killed_is_known_to_have_crashed(place: Place) -> None:
    run = place.run("killed", wait=True)

    os.kill(place.process("killed")[0], signal.SIGKILL)

    place.ends(run, RunState.CRASHED)


def test_a_run_that_is_cancelled_ends_cancelled(place: Place) -> None:
    run = place.run("cancelled", wait=True)
    process = psutil.Process(place.process("cancelled")[0])

    place.server.client().cancel(run)

    place.ends(run, RunState.CANCELLED)
    wait_until(lambda: not process.is_running(), "its process to be gone")


def test_a_run_ends_with_what_stands_for_it_at_the_worker(place: Place) -> None:
    run = place.run("left", wait=True)
    process = psutil.Process(place.process("left")[0])
    ours = ("TEACHBACK_WARM_FLOWS", str(place.address))  # another test may have an installation beside this one
    stand_ins = [each for each in psutil.process_iter() if _command(each)[-1:] == [_ENGINE]]
    (stand_in,) = [each for each in stand_ins if ours in each.environ().items()]

    stand_in.kill()

    place.ends(run, RunState.CRASHED)
    wait_until(lambda: not process.is_running(), "its process to be gone")


def test_without_the_warm_process_its_runs_crash_and_the_next_one_starts_cold(place: Place) -> None:
    run = place.run("bereft", wait=True)
    process = psutil.Process(place.process("bereft")[0])

    place.warm.kill()
    wait_until(lambda: not process.is_running(), "its process to be gone")
    place.ends(run, RunState.CRASHED)

    place.ends(place.run("cold"), RunState.COMPLETED)


_ENGINE = "infra.adapters.orchestration.engine"


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []

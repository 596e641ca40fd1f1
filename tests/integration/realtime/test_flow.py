"""The babysitter's flow on a real Prefect server: only a person's cancel ends the slot."""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from configs.states import SlotState
from infra.adapters.orchestration.base import RunState
from infra.adapters.orchestration.deployments import deploy
from tasks.serving.slots import wait_ready
from tests.fixtures_prefect import PrefectServer
from tests.integration.realtime.conftest import READY_S
from tests.processes import wait_until
from tests.realtime_home import Realtime

REPOSITORY = Path(__file__).resolve().parents[3]
_FILE = """
name: teachback
pull:
  - prefect.deployments.steps.set_working_directory:
      directory: "{{ $TEACHBACK_ROOT }}"
deployments:
  - name: default
    entrypoint: flows/realtime_inference.py:realtime_inference
    work_pool:
      name: realtime
      job_variables:
        command: python -m prefect.engine
"""
DEPLOYMENT = "realtime-inference/default"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def worker(
    tmp_path_factory: pytest.TempPathFactory, prefect_server: PrefectServer, realtime: Realtime
) -> Iterator["subprocess.Popen[bytes]"]:
    """A worker of the realtime pool, for a checkout that holds our flow alone."""
    root = tmp_path_factory.mktemp("checkout")
    (root / "flows").mkdir()
    shutil.copy(REPOSITORY / "flows" / "realtime_inference.py", root / "flows")
    (root / "infra" / "deploy").mkdir(parents=True)
    (root / "infra" / "deploy" / "prefect.yaml").write_text(_FILE)
    assert deploy(prefect_server.url, prefect_server.auth, root) == [DEPLOYMENT]
    shutil.rmtree(root / "infra")  # the worker is to find ours
    ours = {
        name: value
        for name, value in realtime.parts.settings.child_environment().items()
        if name.startswith("TEACHBACK_")
    }
    ours |= {
        "PYTHONPATH": os.fspath(REPOSITORY),
        "TEACHBACK_ROOT": os.fspath(root),
        "TEACHBACK_PREFECT_API_URL": prefect_server.url,
        "TEACHBACK_PREFECT_AUTH": prefect_server.auth.get_secret_value(),
    }
    with prefect_server.worker("realtime", root, **ours) as process:
        yield process


def _flow_processes(worker: "subprocess.Popen[bytes]") -> list[psutil.Process]:
    children = psutil.Process(worker.pid).children(recursive=True)
    return [child for child in children if "prefect.engine" in " ".join(child.cmdline())]


def test_a_slot_outlives_its_flow_is_adopted_by_the_next_and_ends_with_a_cancel(
    prefect_server: PrefectServer, worker: "subprocess.Popen[bytes]", realtime: Realtime
) -> None:
    client, slot_id = prefect_server.client(), realtime.want()
    first = client.start(DEPLOYMENT, {"slot_id": slot_id}, key=f"{slot_id}-1")
    started = wait_ready(realtime.parts, slot_id, READY_S)
    assert started.flow_run_id == first

    for process in _flow_processes(worker):
        process.send_signal(signal.SIGTERM)
    wait_until(lambda: client.state(first) == RunState.CRASHED, "Prefect to see that the flow is dead")
    assert realtime.parts.slots.health(started.endpoint, started.token or "").accepting

    second = client.start(DEPLOYMENT, {"slot_id": slot_id}, key=f"{slot_id}-2")
    wait_until(lambda: realtime.slot(slot_id).flow_run_id == second, "the second flow to adopt the slot")
    assert realtime.slot(slot_id).epoch == started.epoch

    client.cancel(second)
    wait_until(lambda: realtime.slot(slot_id).state == SlotState.STOPPED, "the slot to stop")
    wait_until(lambda: client.state(second) == RunState.CANCELLED, "the run to be cancelled")
    stopped = realtime.slot(slot_id)
    assert (stopped.desired, stopped.error) == (False, "cancelled in Prefect")
    wait_until(lambda: not psutil.pid_exists(started.pid or 0) or _is_zombie(started.pid), "the slot's process to end")


def _is_zombie(pid: int | None) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True

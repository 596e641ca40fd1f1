"""Our Prefect client against a real server: deployments from the file, one run per key, workers, cancelling."""

import json
import sys
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr

from configs.errors import NotFoundError, OrchestratorError
from infra.adapters.orchestration.base import RunState
from infra.adapters.orchestration.deployments import deploy, ensure_pools
from infra.adapters.orchestration.prefect import PrefectOrchestrator
from tests.fixtures_prefect import PrefectServer
from tests.processes import free_port, wait_until

_FLOW = '''
"""A flow that says where it runs, and waits to be told to end."""

import os
import sys
import time
from pathlib import Path

from prefect import flow


@flow(name="small")
def small(job_id: str, attempt: int = 1, wait: bool = False) -> None:
    """Say where this runs."""
    told = Path(os.environ["TEACHBACK_TOLD"])
    said = told / f"{job_id}.txt"
    said.write_text(f"{sys.executable}\\n{os.getcwd()}\\n")
    while wait and not (told / "go").exists():
        time.sleep(0.1)
'''
_FILE = """
name: teachback
pull:
  - prefect.deployments.steps.set_working_directory:
      directory: "{{ $TEACHBACK_ROOT }}"
deployments:
  - name: default
    entrypoint: flows/small.py:small
    description: For tests.
    tags: [teachback]
    work_pool:
      name: rounds
      job_variables:
        command: python -m prefect.engine
"""
REPOSITORY = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, prefect_server: PrefectServer) -> Path:
    """A checkout with one flow, deployed."""
    folder = tmp_path_factory.mktemp("checkout")
    (folder / "flows").mkdir()
    (folder / "flows" / "small.py").write_text(_FLOW)
    (folder / "infra" / "deploy").mkdir(parents=True)
    (folder / "infra" / "deploy" / "prefect.yaml").write_text(_FILE)
    assert deploy(prefect_server.url, prefect_server.auth, folder) == ["small/default"]
    return folder


@pytest.mark.usefixtures("root")
def test_the_same_key_gives_the_same_run(prefect_server: PrefectServer) -> None:
    client = prefect_server.client()
    first = client.start("small/default", {"job_id": "a"}, key="a-1", tags=["round"])
    assert client.start("small/default", {"job_id": "a"}, key="a-1") == first
    other = client.start("small/default", {"job_id": "a", "attempt": 2}, key="a-2")
    runs = client.runs([first, other, "00000000-0000-0000-0000-000000000000"])
    assert {run.state for run in runs.values()} == {RunState.SCHEDULED}
    assert set(runs) == {first, other}


@pytest.mark.usefixtures("root")
def test_a_run_nobody_started_ends_at_once_when_cancelled(prefect_server: PrefectServer) -> None:
    client = prefect_server.client()
    run = client.start("small/default", {"job_id": "b"}, key="b-1")
    client.cancel(run)
    assert client.state(run) == RunState.CANCELLED
    client.cancel(run)
    client.end(run, "nobody works on it")
    assert client.state(run) == RunState.CANCELLED


@pytest.mark.usefixtures("root")
def test_a_run_whose_process_is_dead_is_written_down_as_crashed(prefect_server: PrefectServer) -> None:
    client = prefect_server.client()
    run = client.start("small/default", {"job_id": "c"}, key="c-1")
    client.end(run, "its host is gone")
    assert client.state(run) == RunState.CRASHED


def test_what_is_gone_is_nothing_to_cancel(prefect_server: PrefectServer) -> None:
    client, nobody = prefect_server.client(), "00000000-0000-0000-0000-000000000000"
    client.cancel(nobody)
    client.end(nobody, "gone")
    assert client.state(nobody) is None


def test_a_worker_runs_the_flow_from_the_checkout_with_our_python_and_cancels_it(
    prefect_server: PrefectServer, root: Path, tmp_path: Path
) -> None:
    client = prefect_server.client()
    with prefect_server.worker("rounds", root, TEACHBACK_TOLD=str(tmp_path)):
        run = client.start("small/default", {"job_id": "d", "wait": True}, key="d-1")
        wait_until((tmp_path / "d.txt").exists, "the flow to run")
        python, folder = (tmp_path / "d.txt").read_text().split()
        assert Path(python).parent == Path(sys.executable).parent
        assert Path(folder) == root
        assert client.state(run) == RunState.RUNNING
        client.cancel(run)
        wait_until(lambda: client.state(run) == RunState.CANCELLED, "the run to be cancelled")


@pytest.mark.usefixtures("root")
def test_a_parameter_of_the_wrong_type_is_refused_before_a_run_exists(prefect_server: PrefectServer) -> None:
    with pytest.raises(OrchestratorError, match="HTTP 409"):
        prefect_server.client().start("small/default", {"job_id": "e", "attempt": "many"}, key="e-1")


def test_an_unknown_deployment_is_named(prefect_server: PrefectServer) -> None:
    with pytest.raises(NotFoundError, match="small/other"):
        prefect_server.client().start("small/other", {}, key="x")


def test_a_table_is_shown(prefect_server: PrefectServer) -> None:
    prefect_server.client().table("round-1", [{"step": "gather", "labels": 3}], "Round 1")
    asked = {"artifacts": {"key": {"any_": ["round-1"]}}}
    auth = ("teachback", prefect_server.auth.get_secret_value().split(":")[1])
    (shown,) = httpx.post(f"{prefect_server.url}/artifacts/filter", json=asked, auth=auth).json()
    assert json.loads(shown["data"]) == [{"step": "gather", "labels": 3}]


def test_without_the_auth_string_prefect_refuses_and_we_say_so(prefect_server: PrefectServer) -> None:
    stranger = PrefectOrchestrator(prefect_server.url, SecretStr("teachback:guessed"))
    with pytest.raises(OrchestratorError, match="auth string"):
        stranger.state("00000000-0000-0000-0000-000000000000")


def test_an_unreachable_prefect_is_an_orchestrator_error() -> None:
    absent = PrefectOrchestrator(f"http://127.0.0.1:{free_port()}/api", None)
    assert not absent.healthy()
    with pytest.raises(OrchestratorError, match="did not answer"):
        absent.start("small/default", {}, key="x")


def test_pools_are_kept_when_made_again_with_another_limit(prefect_server: PrefectServer) -> None:
    ensure_pools(prefect_server.url, prefect_server.auth, devices=2)
    auth = ("teachback", prefect_server.auth.get_secret_value().split(":")[1])
    assert httpx.get(f"{prefect_server.url}/work_pools/rounds", auth=auth).json()["concurrency_limit"] == 2
    ensure_pools(prefect_server.url, prefect_server.auth)
    assert httpx.get(f"{prefect_server.url}/work_pools/rounds", auth=auth).json()["concurrency_limit"] == 1


def test_our_own_file_registers_every_flow_with_its_form_and_may_be_registered_again(
    prefect_server: PrefectServer,
) -> None:
    flows = ["continual-learning-round", "train", "batch-inference", "refresh-scores", "realtime-inference"]
    names = [f"{flow}/default" for flow in flows]
    names.insert(4, "refresh-scores/asked")
    for _ in range(2):
        assert deploy(prefect_server.url, prefect_server.auth, REPOSITORY) == names
    auth = ("teachback", prefect_server.auth.get_secret_value().split(":")[1])
    shown = [httpx.get(f"{prefect_server.url}/deployments/name/{name}", auth=auth).json() for name in names]
    assert [each["work_pool_name"] for each in shown] == ["rounds"] * 5 + ["realtime"]
    forms = [each["parameter_openapi_schema"]["properties"] for each in shown]
    assert {"job_id", "attempt", "experiment", "reason"} <= set(forms[0])
    assert set(forms[5]) == {"slot_id"}
    assert all(field["description"] for form in forms[:5] for field in form.values())
    assert forms[0]["publish"]["enum"] == ["gate", "auto", "review", "none"]
    training = shown[0]["parameter_openapi_schema"]["definitions"]["TrainSpec"]["properties"]
    assert all(field["description"] for field in training.values())
    assert [schedule["schedule"]["interval"] for schedule in shown[3]["schedules"]] == [3600]
    assert (shown[4]["schedules"], shown[4]["concurrency_limit"]) == ([], None)
    assert str(REPOSITORY) not in json.dumps(shown), "nothing registered names this machine"


def test_a_schedule_that_a_person_paused_stays_paused_when_we_start_again(prefect_server: PrefectServer) -> None:
    deploy(prefect_server.url, prefect_server.auth, REPOSITORY)
    with prefect_server.http() as client:
        (schedule,) = client.get("/deployments/name/refresh-scores/default").json()["schedules"]
        path = f"/deployments/{schedule['deployment_id']}/schedules/{schedule['id']}"
        client.patch(path, json={"active": False}).raise_for_status()
        deploy(prefect_server.url, prefect_server.auth, REPOSITORY)
        (now,) = client.get("/deployments/name/refresh-scores/default").json()["schedules"]
    assert (now["active"], now["slug"], now["schedule"]) == (False, schedule["slug"], schedule["schedule"])


def test_a_deployment_file_with_an_unknown_field_is_refused(prefect_server: PrefectServer, tmp_path: Path) -> None:
    (tmp_path / "infra" / "deploy").mkdir(parents=True)
    content = _FILE.replace("description: For tests.", "paused: true")
    (tmp_path / "infra" / "deploy" / "prefect.yaml").write_text(content)
    with pytest.raises(OrchestratorError, match="paused"):
        deploy(prefect_server.url, prefect_server.auth, tmp_path)

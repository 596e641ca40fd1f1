"""kill -9 of the MLflow server in mid-round: nobody waits for it, and it is told everything when it is back."""

import json

import httpx
import pytest

from infra.adapters.catalog.tables import Job
from tests.crash.ward import Ward, answer, save_label
from tests.processes import wait_until

pytestmark = pytest.mark.slow
SERVER = "infra.adapters.tracking"


def test_a_round_outlives_mlflow_which_has_all_of_its_curve_when_it_is_back(ward: Ward) -> None:
    job = ward.start_round()
    ward.wait_for_training(job)
    servers = ward.installation.processes(SERVER)
    for server in servers:
        for process in (*server.children(recursive=True), server):
            process.kill()

    answered = ward.infer()
    assert answered.status_code == 201, answered.text
    answer(save_label(ward.client, ward.dataset, ward.truth, 2), 200)
    round_ = ward.wait_for_end(job)
    assert (round_["status"], round_["decision"], round_["attempts"]) == ("Done", "published", 1), round_

    gone = {server.pid for server in servers}
    wait_until(lambda: {each.pid for each in ward.installation.processes(SERVER)} - gone != set(), "another MLflow")
    wait_until(lambda: _ended(ward, job), "MLflow to be told of the end")
    assert sorted(_steps(ward, job)) == ward.steps(job, 1), "each point once"


def _ask(ward: Ward, path: str, **asked: str) -> httpx.Response:
    port = json.loads((ward.installation.home / "ports.json").read_text())["mlflow"]
    return httpx.get(f"http://127.0.0.1:{port}/api/2.0/mlflow/{path}", params=asked, timeout=30)


def _run(ward: Ward, job: str) -> str:
    with ward.catalog.read() as session:
        return session.get_one(Job, job).tracking_run or ""


def _ended(ward: Ward, job: str) -> bool:
    try:
        said = _ask(ward, "runs/get", run_id=_run(ward, job))
    except httpx.TransportError:
        return False
    return said.is_success and said.json()["run"]["info"]["status"] == "FINISHED"


def _steps(ward: Ward, job: str) -> list[int]:
    said = _ask(ward, "metrics/get-history", run_id=_run(ward, job), metric_key="train_loss", max_results="10000")
    return [int(point["step"]) for point in said.json()["metrics"]]

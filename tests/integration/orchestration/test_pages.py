"""Prefect's and MLflow's pages behind our login, with the real servers."""

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import select

from configs.settings import Settings
from infra.adapters.catalog.tables import Job
from infra.adapters.orchestration.deployments import deploy
from infra.doors.api.app import create_app
from infra.doors.api.logins import FailedLogins
from infra.services import people
from infra.services.callers import Role
from infra.wiring import Parts
from tasks.rounds.count import notify
from tests.builders import ORG, World, build, notice, start_loop
from tests.fixtures_prefect import PrefectServer

REPOSITORY = Path(__file__).resolve().parents[3]
ROUND = "continual-learning-round/default"
BROWSER = {"Accept": "text/html"}
CASUAL = "/prefect/api/admin/settings"


@pytest.fixture
def parts(tmp_path: Path, sqlite_url: str, prefect_server: PrefectServer, mlflow_uri: str) -> Iterator[Parts]:
    """Adapters on the real servers."""
    settings = Settings(
        home=tmp_path / "home",
        catalog_url=sqlite_url,
        prefect_api_url=prefect_server.url,
        prefect_auth=prefect_server.auth,
        mlflow_tracking_uri=mlflow_uri,
    )
    opened = Parts(settings)
    yield opened
    opened.close()


@pytest.fixture
def world(parts: Parts) -> World:
    """An organisation with an experiment."""
    return build(parts.catalog, images=2)


@pytest.fixture
def client(app: FastAPI, parts: Parts, world: World) -> Iterator[TestClient]:
    """A browser that nobody has logged in with."""
    assert world
    app.state.parts, app.state.failed_logins = parts, FailedLogins()
    with TestClient(app, base_url="http://127.0.0.1:8000", follow_redirects=False) as opened:
        yield opened


@pytest.fixture
def engineer(parts: Parts, client: TestClient) -> TestClient:
    """The browser, an engineer logged in."""
    assert log_in(parts, client, Role.ENGINEER).status_code == 303
    return client


def log_in(parts: Parts, client: TestClient, role: Role, *, org: str = ORG, following: str = "") -> httpx.Response:
    """Log in with a new key of this role."""
    key = people.create_key(parts, people.operator(org), name=role, role=role).secret
    reply: httpx.Response = client.post("/login", data={"key": key, "next": following})
    return reply


def test_a_page_asks_for_the_login_and_is_there_after_it(parts: Parts, client: TestClient) -> None:
    asked = client.get("/prefect/v2/runs", headers=BROWSER)
    assert (asked.status_code, asked.headers["location"]) == (303, "/login?next=/prefect/v2/runs")
    login = client.get(asked.headers["location"])
    assert 'value="/prefect/v2/runs"' in login.text
    assert "script" not in login.text
    done = log_in(parts, client, Role.ENGINEER, following="/prefect/v2/runs")
    assert done.headers["location"] == "/prefect/v2/runs"
    assert {"HttpOnly", "SameSite=strict"} <= set(done.headers["set-cookie"].split("; "))
    page = client.get("/prefect/v2/runs", headers=BROWSER)
    assert "<title>Prefect Server</title>" in page.text
    assert "script-src 'self' 'unsafe-eval';" in page.headers["content-security-policy"]
    other = client.get("/mlflow/", headers=BROWSER)
    assert "<title>MLflow</title>" in other.text
    assert "script-src 'self';" in other.headers["content-security-policy"]


@pytest.mark.parametrize(
    "path", ["https://evil.example/", "//evil.example", "/prefect/\\evil.example", "/api/v1/health"]
)
def test_the_login_leads_to_our_pages_alone(parts: Parts, client: TestClient, path: str) -> None:
    assert log_in(parts, client, Role.ADMIN, following=path).headers["location"] == "/prefect/"


def test_a_wrong_key_opens_nothing_and_guessing_is_slowed_down(client: TestClient) -> None:
    for _ in range(5):
        assert client.post("/login", data={"key": "tb_guess"}).status_code == 401
    refused = client.post("/login", data={"key": "tb_guess"})
    assert refused.status_code == 429
    assert "wait" in refused.text
    assert "set-cookie" not in refused.headers


def test_annotators_and_reviewers_may_not(parts: Parts, client: TestClient) -> None:
    for role in (Role.ANNOTATOR, Role.REVIEWER):
        log_in(parts, client, role)
        for path in ("/prefect/", "/mlflow/", "/prefect/api/flows/filter", f"/jobs/{uuid4()}"):
            assert client.get(path, headers=BROWSER).status_code == 403


def test_with_runs_of_several_organisations_only_the_operator_looks(parts: Parts, client: TestClient) -> None:
    log_in(parts, client, Role.ADMIN, org="elsewhere")
    assert client.get(CASUAL).status_code == 403
    log_in(parts, client, Role.ADMIN, org="local")
    assert client.get(CASUAL).status_code == 200


def test_the_cookie_is_no_key_of_the_api_and_ends_with_the_logout(engineer: TestClient) -> None:
    assert engineer.get("/api/teachback/v1/status").status_code == 401
    cookie = dict(engineer.cookies)
    assert engineer.get(CASUAL).status_code == 200
    assert engineer.post("/logout").status_code == 303
    engineer.cookies.update(cookie)
    assert engineer.get(CASUAL).status_code == 401


def test_a_page_of_another_site_starts_nothing_with_the_cookie(engineer: TestClient) -> None:
    asked = engineer.post("/prefect/api/flows/filter", json={}, headers={"Origin": "https://evil.example"})
    assert asked.status_code == 403


def test_the_form_works_without_prefects_password(engineer: TestClient, prefect_server: PrefectServer) -> None:
    deploy(prefect_server.url, prefect_server.auth, REPOSITORY)
    told = engineer.get("/prefect/ui-settings").json()
    assert (told["api_url"], told["auth"]) == ("/prefect/api", None)
    shown = engineer.get(f"/prefect/api/deployments/name/{ROUND}").json()
    form = {"parameters": {"experiment": "none such"}, "job_variables": shown["job_variables"], "name": "by hand"}
    made = engineer.post(f"/prefect/api/deployments/{shown['id']}/create_flow_run", json=form)
    assert made.status_code == 201
    run = made.json()["id"]
    asked = {"state": {"type": "CANCELLING", "name": "Cancelling"}}
    assert engineer.post(f"/prefect/api/flow_runs/{run}/set_state", json=asked).json()["status"] in {"ACCEPT", "REJECT"}
    wrong = {"parameters": {"attempt": "many"}}
    assert engineer.post(f"/prefect/api/deployments/{shown['id']}/create_flow_run", json=wrong).status_code == 409
    assert engineer.delete(f"/prefect/api/flow_runs/{run}").status_code == 204


def test_what_prefect_would_execute_is_not_chosen_through_the_login(
    engineer: TestClient, prefect_server: PrefectServer
) -> None:
    deploy(prefect_server.url, prefect_server.auth, REPOSITORY)
    shown = engineer.get(f"/prefect/api/deployments/name/{ROUND}").json()
    path = f"/prefect/api/deployments/{shown['id']}"
    for method, asked, body in (
        ("POST", f"{path}/create_flow_run", {"job_variables": {"command": "touch /tmp/mine"}}),
        ("PATCH", path, {"job_variables": {"command": "touch /tmp/mine"}}),
        ("POST", "/prefect/api/deployments/", {"name": "mine"}),
        ("POST", f"{path}/create_flow_run/bulk", [{"job_variables": {"command": "touch /tmp/mine"}}]),
        ("POST", "/prefect/api/automations/", {}),
        ("PATCH", "/prefect/api/work_pools/rounds", {}),
        ("GET", "/prefect/api/block_documents/1", None),
        ("POST", "/prefect/api/../api/automations/", {}),
        ("POST", "/prefect/api//automations/", {}),
    ):
        assert engineer.request(method, asked, json=body).status_code in {403, 404, 405}, asked
    assert str(REPOSITORY) not in engineer.get(CASUAL).text


@pytest.mark.parametrize(
    "path",
    [
        "/prefect/api/x/%2e%2e/admin/settings",
        "/prefect/api/x/../variables/name/mine",
        "/prefect/%2e%2e/api/admin/settings",
        "/prefect/api/%2576ariables/name/mine",
        "/prefect/api/flows%3Fx",
        "/prefect/api/flows%00",
        "/mlflow/api/2.0/mlflow/x/%2e%2e/webhooks",
        "/mlflow/api/2.0//mlflow/webhooks",
    ],
)
def test_a_path_that_means_two_things_goes_nowhere(engineer: TestClient, path: str) -> None:
    """Httpx, as most clients, mends such paths before it sends them; an attacker's does not."""
    url = httpx.URL("http://127.0.0.1:8000").copy_with(raw_path=path.encode())
    assert engineer.get(url).status_code == 403


def test_mlflow_is_read_through_the_login_and_written_by_us_alone(engineer: TestClient) -> None:
    api = "/mlflow/ajax-api/2.0/mlflow"
    found = engineer.post(f"{api}/experiments/search", json={"max_results": 5})
    assert [each["name"] for each in found.json()["experiments"]] == ["Default"]
    note = {"experiment_id": "0", "key": "mlflow.note.content", "value": "seen"}
    assert engineer.post(f"{api}/experiments/set-experiment-tag", json=note).status_code == 200
    for method, path in (
        ("POST", f"{api}/experiments/create"),
        ("POST", f"{api}/model-versions/create"),
        ("POST", f"{api}/runs/log-metric"),
        ("POST", f"{api}/webhooks"),
        ("POST", f"{api}/metrics/get-history/x/%2e%2e/%2e%2e/experiments/create"),
        ("GET", "/mlflow/ajax-api/3.0/mlflow/assistant/config"),
        ("POST", "/mlflow/ajax-api/3.0/mlflow/gateway/endpoints/create"),
        ("PUT", "/mlflow/api/2.0/mlflow-artifacts/artifacts/x"),
    ):
        assert engineer.request(method, path, json={}).status_code == 403, path


def test_mlflows_own_client_reads_with_a_key(parts: Parts, client: TestClient) -> None:
    key = people.create_key(parts, people.operator(ORG), name="laptop", role=Role.ENGINEER).secret
    asked = client.get(
        "/mlflow/api/2.0/mlflow/experiments/get?experiment_id=0", headers={"Authorization": f"Bearer {key}"}
    )
    assert asked.json()["experiment"]["name"] == "Default"


def test_a_jobs_page_leads_to_its_run_in_mlflow(parts: Parts, engineer: TestClient, world: World) -> None:
    mlflow = f"{parts.settings.mlflow_tracking_uri}/api/2.0/mlflow/runs/create"
    run = httpx.post(mlflow, json={"experiment_id": "0"}).json()["run"]["info"]["run_id"]
    with parts.catalog.write() as session:
        job = Job(
            org=ORG,
            experiment_id=world.experiment,
            dataset_id=world.dataset,
            action="train",
            status="Running",
            message="epoch <2>",
            name="by hand",
            tracking_run=run,
        )
        session.add(job)
        session.flush()
        job_id = job.id
    page = engineer.get(f"/jobs/{job_id}")
    assert "by hand of liver: Running" in page.text
    assert "epoch &lt;2&gt;" in page.text
    leads = engineer.get(f"/mlflow/jobs/{job_id}")
    assert leads.headers["location"].startswith("/mlflow/#/experiments/")
    assert leads.headers["location"].endswith(f"/runs/{run}?workflowType=machine_learning")
    assert engineer.get(f"/jobs/{uuid4()}").status_code == 404


def test_a_loop_s_page_opens_a_round_with_what_waits(parts: Parts, engineer: TestClient, world: World) -> None:
    loop = start_loop(parts.catalog, world, round_size=5)
    assert "Train now" in engineer.get(f"/jobs/{loop}").text
    empty = engineer.post(f"/jobs/{loop}/train-now")
    assert (empty.status_code, "no label waits" in empty.text) == (200, True)
    with parts.catalog.write() as session:
        notify(session, world.dataset, [notice(world.images[0])], "ann")

    opened = engineer.post(f"/jobs/{loop}/train-now")

    assert "round 1 starts" in opened.text
    with parts.catalog.read() as session:
        [started] = session.scalars(select(Job).where(Job.parent_id == loop))
    assert "Train now" not in engineer.get(f"/jobs/{started.id}").text
    elsewhere = engineer.post(f"/jobs/{loop}/train-now", headers={"Origin": "https://evil.example"})
    assert elsewhere.status_code == 403


def test_a_server_that_is_down_is_said_and_what_is_elsewhere_is_named(tmp_path: Path, sqlite_url: str) -> None:
    settings = Settings(
        home=tmp_path / "home",
        catalog_url=sqlite_url,
        prefect_api_url="http://127.0.0.1:9/api",
        mlflow_tracking_uri="http://127.0.0.1:9",
        mlflow_ui_url="https://mlflow.example",
    )
    parts = Parts(settings)
    build(parts.catalog, images=1)
    with TestClient(
        create_app(parts, run_loops=False), base_url="http://127.0.0.1:8000", follow_redirects=False
    ) as client:
        log_in(parts, client, Role.ENGINEER)
        down = client.post("/prefect/api/flows/filter", json={})
        assert (down.status_code, "Prefect does not answer" in down.text) == (502, True)
        assert client.get("/mlflow/").headers["location"] == "https://mlflow.example"
    parts.close()


def test_where_nothing_is_written_to_mlflow_its_page_says_so(tmp_path: Path, sqlite_url: str) -> None:
    parts = Parts(Settings(home=tmp_path / "home", catalog_url=sqlite_url, mlflow_tracking_uri="off"))
    build(parts.catalog, images=1)
    with TestClient(create_app(parts, run_loops=False), base_url="http://127.0.0.1:8000") as client:
        log_in(parts, client, Role.ENGINEER)
        page = client.get("/mlflow/")
        assert (page.status_code, "writes to no MLflow" in page.text) == (400, True)
    parts.close()

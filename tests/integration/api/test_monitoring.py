"""Numbers and logs for the operator."""

from fastapi import FastAPI
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families

from infra.doors.api.idle import Calls
from infra.services.callers import Role
from infra.wiring import Parts
from tests.integration.api.conftest import Api


def test_metrics_are_prometheus_text_with_requests_and_the_catalogs_numbers(
    people_of: dict[Role, Api], dataset: str, client: TestClient
) -> None:
    admin = people_of[Role.ADMIN]
    admin.call("GET", f"/datasets/{dataset}")
    reply = admin.at("GET", "/metrics")
    assert reply.headers["content-type"].startswith("text/plain; version=")
    families = {family.name: family for family in text_string_to_metric_families(reply.text)}
    counted = {sample.labels.get("endpoint"): sample.value for sample in families["teachback_requests"].samples}
    assert counted["monai_cloud.datasets.get_dataset"] >= 1
    assert set(families) >= {"teachback_labels", "teachback_rounds", "teachback_slots", "teachback_inference_seconds"}
    assert dataset not in reply.text
    assert client.get("/metrics").status_code == client.get("/api/teachback/v1/logs").status_code == 401


def test_logs_are_listed_and_read_redacted_and_nothing_else_is(people_of: dict[Role, Api], parts: Parts) -> None:
    admin, folder = people_of[Role.ADMIN], parts.settings.home / "logs"
    folder.mkdir(parents=True)
    (folder / "api.log").write_text("password=hunter22 series 1.2.826.0.1.3680043.8.498.1\nready\n")
    (parts.settings.home / "secret.log").write_text("no")
    assert [each["name"] for each in admin.at("GET", "/api/teachback/v1/logs").json()] == ["api.log"]
    text = admin.at("GET", "/api/teachback/v1/logs/api.log").text
    assert "ready" in text
    assert "hunter22" not in text
    assert "3680043" not in text
    for name in ("..%2Fsecret.log", "nothing.log", "..%2F..%2Fetc%2Fpasswd"):
        assert admin.at("GET", f"/api/teachback/v1/logs/{name}").status_code == 404, name


def test_an_admin_of_one_of_several_organisations_does_not_see_the_installations_logs(
    people_of: dict[Role, Api], stranger: Api, experiment: str
) -> None:
    assert experiment
    assert stranger.at("GET", "/api/teachback/v1/logs").status_code == 403
    assert stranger.at("GET", "/metrics").status_code == 403
    assert people_of[Role.ADMIN].at("GET", "/api/teachback/v1/logs").status_code == 200


def test_a_keys_last_use_is_listed(people_of: dict[Role, Api]) -> None:
    admin = people_of[Role.ADMIN]
    used = {key["name"]: key["used_at"] for key in admin.at("GET", "/api/teachback/v1/keys").json()}
    assert used["the admin"] is not None
    assert used["the annotator"] is None


def test_a_call_and_a_job_end_idleness_and_a_poll_does_not(
    people_of: dict[Role, Api], app: FastAPI, experiment: str
) -> None:
    moments = [0.0]
    app.state.calls = Calls(lambda: moments[0])
    admin = people_of[Role.ADMIN]

    def idle_after(seconds: float) -> float:
        moments[0] += seconds
        return float(admin.at("GET", "/api/teachback/v1/idle").json()["seconds"])

    assert idle_after(9) == 9
    admin.at("GET", "/api/teachback/v1/status")
    assert admin.client.get("/info/").status_code == 401
    assert idle_after(1) == 10
    admin.call("GET", f"/experiments/{experiment}")
    assert idle_after(1) == 1

    admin.made(f"/experiments/{experiment}/jobs", action="annotation", specs={"round_size": 5})
    assert idle_after(50) == 50
    training = admin.made(f"/experiments/{experiment}/jobs", action="train", specs={})
    assert idle_after(50) == 0
    admin.call("POST", f"/experiments/{experiment}/jobs/{training}:cancel")
    assert idle_after(50) == 50
    assert people_of[Role.ENGINEER].at("GET", "/api/teachback/v1/idle").status_code == 403

"""What every request passes before anything reads it, and what is logged of it."""

import logging
import re
from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient

from configs.errors import InvalidRequestError
from configs.settings import Settings
from infra.doors.api.app import create_app
from infra.doors.api.guard import origins_of
from infra.doors.api.roles import SESSION_COOKIE
from infra.wiring import Parts
from tests.integration.api.conftest import BASE_URL, Api


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "evil.example:8000", ""])
def test_a_foreign_host_name_is_refused_whatever_is_asked(client: TestClient, host: str) -> None:
    reply = client.get("/api/v1/health", headers={"Host": host})
    assert reply.status_code == 400
    assert "TEACHBACK_ALLOWED_HOSTS" in reply.json()["error_desc"]


@pytest.mark.parametrize("host", ["localhost", "localhost:8000", "127.0.0.1:1", "[::1]:8000", "LOCALHOST"])
def test_this_machines_names_are_ours(client: TestClient, host: str) -> None:
    assert client.get("/api/v1/health", headers={"Host": host}).json() == "OK"


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:9999", "http://localhost:8000"])
def test_a_page_of_another_origin_changes_nothing_even_with_a_key(engineer: Api, origin: str) -> None:
    reply = engineer.call("POST", "/datasets", json={}, headers={"Origin": origin})
    assert reply.status_code == 403
    assert engineer.client.post("/api/v1/login", json={}, headers={"Origin": origin}).status_code == 403


def test_a_page_of_ours_may_and_reading_needs_no_origin(engineer: Api) -> None:
    assert engineer.call("POST", "/datasets", json={}, headers={"Origin": "http://127.0.0.1:8000"}).status_code == 400
    foreign = engineer.call("GET", "/datasets", headers={"Origin": "https://evil.example"})
    assert foreign.status_code == 200
    assert "access-control-allow-origin" not in foreign.headers


def test_a_body_that_is_too_large_is_refused_before_it_is_read(engineer: Api) -> None:
    said = engineer.call("POST", "/datasets", content=b"{}", headers={"Content-Length": str(2**40)})
    assert said.status_code == 413


def test_a_body_that_grows_too_large_is_broken_off(engineer: Api) -> None:
    def endless() -> object:
        for _ in range(40):
            yield b" " * 2**20

    assert engineer.call("POST", "/datasets", content=endless()).status_code == 413


def test_an_upload_without_a_key_is_refused_before_it_is_read(client: TestClient, dataset: str) -> None:
    def form() -> Iterator[bytes]:
        yield b'--b\r\nContent-Disposition: form-data; name="label"; filename="x"\r\n\r\n'
        yield from [b"x" * 2**20] * 33
        yield b"\r\n--b--\r\n"

    save = "PUT", f"/label/{dataset}/datastore/label?image=p1/a"
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    for method, path in (save, ("POST", f"/api/teachback/v1/datasets/{dataset}/labels:import")):
        for shown in ({}, {"Authorization": "Bearer tb_nothing"}):
            sent = {**headers, **shown}
            assert client.request(method, path, content=form(), headers=sent).status_code == 401, "not 413"


def test_the_access_log_names_the_endpoint_and_no_image(
    annotator: Api, dataset: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "teachback.access"):
        reply = annotator.at("GET", f"/label/{dataset}/datastore/image?image=p1/a")
    [line] = [record.getMessage() for record in caplog.records if record.name == "teachback.access"]
    assert reply.headers["X-Request-ID"] in line
    assert "monai_label.images.get_image 200" in line
    assert "p1" not in line


@pytest.mark.parametrize(
    ("path", "status", "keys"),
    [
        ("/api/v1/nothing", 404, {"code", "name", "description"}),
        ("/api/v1/orgs/clinic/datasets/not-a-uuid", 400, {"error_desc", "error_code"}),
        ("/api/teachback/v1/nothing", 404, {"detail"}),
        ("/label/unknown/info/", 404, {"detail"}),
    ],
)
def test_errors_have_their_dialects_shape(engineer: Api, path: str, status: int, keys: set[str]) -> None:
    reply = engineer.at("GET", path)
    assert (reply.status_code, set(reply.json())) == (status, keys)


def test_an_id_that_is_none_is_refused_in_the_originals_words(engineer: Api) -> None:
    for kind in ("Dataset", "Experiment"):
        reply = engineer.call("GET", f"/{kind.lower()}s/42")
        assert reply.json() == {"error_desc": f"{kind} ID passed is not a valid UUID", "error_code": 1}


def test_json_that_cannot_be_read_is_400(engineer: Api) -> None:
    for body in (b"{", b"[1]", b"\xff"):
        assert engineer.call("POST", "/datasets", content=body).status_code == 400


def test_the_description_names_both_ways_in_and_the_answers(client: TestClient) -> None:
    described = client.get("/openapi.json").json()
    post = described["paths"]["/api/v1/orgs/{org}/experiments/{experiment_id}/jobs"]["post"]
    assert set(post["responses"]["201"]["content"]) == {"application/json", "multipart/form-data"}
    assert "/api/v1/users/{user_id}/datasets" in described["paths"]
    assert "CloudError" in str(post["responses"]["404"])
    assert client.get("/docs").status_code == 200


def test_the_page_that_describes_the_api_loads_nothing_from_elsewhere(client: TestClient) -> None:
    page = client.get("/docs")

    loaded = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert all(path.startswith("/") and client.get(path).status_code == 200 for path in loaded)
    assert len(loaded) == 3
    assert "script-src" not in page.headers["Content-Security-Policy"], "scripts come from this server's files alone"


def test_pages_of_a_named_origin_may_call_with_a_key_and_never_with_a_cookie(annotator: Api, parts: Parts) -> None:
    viewer = "https://viewer.example"
    parts.settings = parts.settings.model_copy(update={"cors_origins": f"{viewer}, http://ward:3000/"})
    with TestClient(create_app(parts, run_loops=False), base_url=BASE_URL) as there:
        asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}
        preflight = there.options("/train/", headers={"Origin": viewer, **asked})
        assert (preflight.status_code, preflight.headers["access-control-allow-origin"]) == (200, viewer)
        at = f"/session/none?x={annotator.org}"
        mine = there.delete(at, headers={"Origin": viewer, **annotator.headers})
        assert (mine.status_code, mine.headers["access-control-allow-origin"]) == (404, viewer)
        assert "access-control-allow-credentials" not in mine.headers
        cookie = {"Cookie": f"{SESSION_COOKIE}={annotator.secret}"}
        assert there.delete(at, headers={"Origin": viewer, **cookie}).status_code == 401
        for other in ("https://evil.example", "https://viewer.example.evil.example", "null"):
            refused = there.delete(at, headers={"Origin": other, **annotator.headers})
            assert (refused.status_code, "access-control-allow-origin" in refused.headers) == (403, False)
            assert there.options("/train/", headers={"Origin": other, **asked}).status_code == 400


@pytest.mark.parametrize("said", ["*", "viewer.example", "https://*.example", "https://viewer.example/path"])
def test_an_origin_that_is_none_is_refused_at_start(said: str) -> None:
    with pytest.raises(InvalidRequestError, match="TEACHBACK_CORS_ORIGINS"):
        origins_of(Settings(cors_origins=said))

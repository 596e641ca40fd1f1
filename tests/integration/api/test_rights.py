"""Every route with every role, and every id with another organisation's key."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient
from starlette.routing import BaseRoute

from configs.settings import Settings
from infra.doors.api.roles import OPEN_PATHS, ROLES, name_of
from infra.services import people
from infra.services.callers import Role
from infra.wiring import Parts
from tests.integration.api.conftest import BASE_ID, Api

ORDER = [Role.ANNOTATOR, Role.REVIEWER, Role.ENGINEER, Role.ADMIN]
ID = "11111111-2222-4333-8444-555555555555"
ANNOTATION: dict[str, object] = {"action": "annotation", "specs": {"round_size": 1}}
ANYBODY = {
    "/hooks/{hook_id}",  # signed: tests/integration/api/test_hooks.py
    "/api/v1/login",
    "/api/v1/health",
    "/api/v1/health/liveness",
    "/api/v1/health/readiness",
    "/auth",
    "/auth/token",
    "/label/{dataset}/auth",
    "/label/{dataset}/auth/token",
}
# method, path after the organisation or from the root, body, the first role that may
CLOUD: list[tuple[str, str, dict[str, object] | None, Role]] = [
    ("POST", "/workspaces", {}, Role.ENGINEER),
    ("GET", "/workspaces", None, Role.ANNOTATOR),
    ("GET", f"/workspaces/{ID}", None, Role.ANNOTATOR),
    ("GET", f"/workspaces/{ID}:get_datasets", None, Role.ANNOTATOR),
    ("PATCH", f"/workspaces/{ID}", {}, Role.ENGINEER),
    ("PUT", f"/workspaces/{ID}", {}, Role.ENGINEER),
    ("DELETE", f"/workspaces/{ID}", None, Role.ENGINEER),
    ("POST", "/datasets", {"client_url": "/nowhere"}, Role.ENGINEER),
    ("GET", "/datasets", None, Role.ANNOTATOR),
    ("GET", f"/datasets/{ID}", None, Role.ANNOTATOR),
    ("PATCH", f"/datasets/{ID}", {}, Role.ENGINEER),
    ("PUT", f"/datasets/{ID}", {}, Role.ENGINEER),
    ("DELETE", f"/datasets/{ID}", None, Role.ENGINEER),
    ("GET", f"/datasets/{ID}/jobs", None, Role.ANNOTATOR),
    ("GET", "/datasets:get_formats", None, Role.ANNOTATOR),
    ("GET", f"/datasets/{ID}/specs/notify/schema", None, Role.ANNOTATOR),
    ("GET", f"/experiments/{ID}/specs/train/schema", None, Role.ANNOTATOR),
    ("GET", f"/experiments/{ID}/specs/train/schema:base", None, Role.ANNOTATOR),
    ("POST", f"/datasets/{ID}/jobs", {"action": "nextimage"}, Role.ANNOTATOR),
    ("POST", f"/datasets/{ID}/jobs", {"action": "cacheimage", "specs": {"image": "x"}}, Role.ANNOTATOR),
    ("POST", f"/datasets/{ID}/jobs", {"action": "notify", "specs": {}}, Role.ANNOTATOR),
    ("POST", "/experiments", {"network_arch": "monai_segmentation"}, Role.ENGINEER),
    ("GET", "/experiments", None, Role.ANNOTATOR),
    ("GET", "/experiments:base", None, Role.ANNOTATOR),
    ("GET", "/experiments:get_tags", None, Role.ANNOTATOR),
    ("GET", f"/experiments/{ID}", None, Role.ANNOTATOR),
    ("PATCH", f"/experiments/{ID}", {}, Role.ENGINEER),
    ("PUT", f"/experiments/{ID}", {}, Role.ENGINEER),
    ("DELETE", f"/experiments/{ID}", None, Role.ENGINEER),
    ("POST", f"/experiments/{ID}:cancel_all_jobs", None, Role.ENGINEER),
    ("POST", f"/experiments/{ID}/jobs", ANNOTATION, Role.ENGINEER),
    ("POST", f"/experiments/{ID}/jobs", {"action": "train"}, Role.ENGINEER),
    ("POST", f"/experiments/{ID}/jobs", {"action": "inference", "specs": {"image": "x"}}, Role.ANNOTATOR),
    ("GET", f"/experiments/{ID}/jobs", None, Role.ANNOTATOR),
    ("GET", f"/experiments/{ID}/jobs/{ID}", None, Role.ANNOTATOR),
    ("GET", f"/experiments/{ID}/jobs/{ID}/logs", None, Role.ENGINEER),
    ("POST", f"/experiments/{ID}/jobs/{ID}:cancel", None, Role.ENGINEER),
    ("POST", f"/experiments/{ID}/jobs/{ID}:pause", None, Role.ENGINEER),
    ("POST", f"/experiments/{ID}/jobs/{ID}:resume", None, Role.ENGINEER),
    ("DELETE", f"/experiments/{ID}/jobs/{ID}", None, Role.ENGINEER),
    ("GET", f"/experiments/{ID}/jobs/{ID}:list_files", None, Role.ENGINEER),
    ("GET", f"/experiments/{ID}/jobs/{ID}:download", None, Role.ENGINEER),
    ("GET", f"/experiments/{ID}/jobs/{ID}:download_selective_files", None, Role.ENGINEER),
    ("GET", f"/datasets/{ID}/jobs/{ID}", None, Role.ANNOTATOR),
    ("GET", f"/datasets/{ID}/jobs/{ID}/logs", None, Role.ANNOTATOR),
    ("GET", f"/datasets/{ID}/jobs/{ID}:list_files", None, Role.ANNOTATOR),
    ("GET", f"/datasets/{ID}/jobs/{ID}:download", None, Role.ANNOTATOR),
    ("GET", f"/datasets/{ID}/jobs/{ID}:download_selective_files", None, Role.ANNOTATOR),
    ("POST", f"/datasets/{ID}/jobs/{ID}:cancel", None, Role.ANNOTATOR),
    ("DELETE", f"/datasets/{ID}/jobs/{ID}", None, Role.ANNOTATOR),
]
PUBLISH = {"experiment": ID, "version": ID}
OURS: list[tuple[str, str, dict[str, object] | None, Role]] = [
    ("GET", "/api/v1/auth", None, Role.ANNOTATOR),
    ("GET", "/api/teachback/v1/status", None, Role.ANNOTATOR),
    ("GET", "/api/teachback/v1/idle", None, Role.ADMIN),
    ("GET", f"/api/teachback/v1/rounds?experiment={ID}", None, Role.ANNOTATOR),
    ("POST", f"/api/teachback/v1/rounds/{ID}:rerun", None, Role.ENGINEER),
    ("GET", f"/api/teachback/v1/rounds/{ID}:difference", None, Role.ANNOTATOR),
    ("GET", f"/api/teachback/v1/models?experiment={ID}", None, Role.ANNOTATOR),
    ("POST", "/api/teachback/v1/models:publish", dict(PUBLISH), Role.ENGINEER),
    ("POST", "/api/teachback/v1/models:decline", dict(PUBLISH), Role.ENGINEER),
    ("POST", "/api/teachback/v1/models:rollback", {"experiment": ID}, Role.ENGINEER),
    ("GET", "/api/teachback/v1/bundles", None, Role.ANNOTATOR),
    ("GET", "/api/teachback/v1/bundles/none", None, Role.ANNOTATOR),
    ("POST", "/api/teachback/v1/bundles", {"source": "/nowhere"}, Role.ADMIN),
    ("POST", "/api/teachback/v1/bundles:check", {"source": "/nowhere"}, Role.ADMIN),
    ("DELETE", "/api/teachback/v1/bundles/none", None, Role.ADMIN),
    ("POST", "/api/teachback/v1/apps", {"source": "/nowhere"}, Role.ADMIN),
    ("GET", "/api/teachback/v1/keys", None, Role.ADMIN),
    ("POST", "/api/teachback/v1/keys", {"name": "x", "role": "annotator"}, Role.ADMIN),
    ("DELETE", f"/api/teachback/v1/keys/{ID}", None, Role.ADMIN),
    ("GET", "/metrics", None, Role.ADMIN),
    ("GET", "/logs", None, Role.ADMIN),
    ("GET", "/logs/gpu", None, Role.ADMIN),
    ("GET", "/api/teachback/v1/logs", None, Role.ADMIN),
    ("GET", "/api/teachback/v1/logs/api.log", None, Role.ADMIN),
    ("GET", "/api/teachback/v1/hooks", None, Role.ADMIN),
    ("POST", "/api/teachback/v1/hooks", {"dataset": ID}, Role.ADMIN),
    ("POST", f"/api/teachback/v1/hooks/{ID}:rotate", None, Role.ADMIN),
    ("DELETE", f"/api/teachback/v1/hooks/{ID}", None, Role.ADMIN),
    ("POST", f"/api/teachback/v1/datasets/{ID}:sync", None, Role.ANNOTATOR),
    ("GET", f"/api/teachback/v1/datasets/{ID}:manifest", None, Role.ENGINEER),
    ("GET", f"/api/teachback/v1/datasets/{ID}:export", None, Role.ENGINEER),
    ("POST", f"/api/teachback/v1/datasets/{ID}/labels:import", None, Role.ENGINEER),
    ("GET", f"/api/teachback/v1/datasets/{ID}/agreement", None, Role.REVIEWER),
    ("GET", f"/api/teachback/v1/labels/{ID}/as/nifti", None, Role.ANNOTATOR),
    ("GET", f"/api/teachback/v1/labels/{ID}/as-coco", None, Role.ANNOTATOR),
    ("GET", "/api/teachback/v1/datasets", None, Role.ANNOTATOR),
    ("GET", f"/api/teachback/v1/datasets/{ID}", None, Role.ANNOTATOR),
    ("GET", f"/api/teachback/v1/datasets/{ID}/skipped", None, Role.ANNOTATOR),
    ("GET", f"/api/teachback/v1/datasets/{ID}/labels", None, Role.ANNOTATOR),
    ("GET", f"/api/teachback/v1/labels/{ID}", None, Role.ANNOTATOR),
    ("GET", f"/api/teachback/v1/labels/{ID}/file", None, Role.ANNOTATOR),
    ("POST", f"/api/teachback/v1/labels/{ID}:approve", None, Role.REVIEWER),
    ("POST", f"/api/teachback/v1/labels/{ID}:send_back", {"reason": "x"}, Role.REVIEWER),
    ("POST", f"/api/teachback/v1/labels/{ID}:release", {}, Role.ENGINEER),
    ("DELETE", f"/api/teachback/v1/labels/{ID}", None, Role.ANNOTATOR),
    ("POST", "/api/teachback/v1/labels:purge", {}, Role.ADMIN),
    ("GET", f"/api/teachback/v1/scores?experiment={ID}", None, Role.ANNOTATOR),
    ("POST", "/api/teachback/v1/tracking:rebuild", None, Role.ENGINEER),
    ("POST", f"/api/teachback/v1/datasets/{ID}/images:skip", {"image": "x", "reason": "y"}, Role.ANNOTATOR),
    ("POST", f"/api/teachback/v1/datasets/{ID}/images:clear", {"image": "x"}, Role.ENGINEER),
]
# At the server's root, and below `/label/{dataset}`.
LABEL: list[tuple[str, str, dict[str, object] | None, Role]] = [
    ("GET", "/info/", None, Role.ANNOTATOR),
    ("GET", "/info", None, Role.ANNOTATOR),
    ("POST", "/activelearning/random", {}, Role.ANNOTATOR),
    ("POST", "/infer/x?image=x", None, Role.ANNOTATOR),
    ("POST", "/infer/wsi/x?image=x", None, Role.ANNOTATOR),
    ("POST", "/infer/wsi_v2/x?image=x", None, Role.ANNOTATOR),
    ("GET", "/datastore", None, Role.ANNOTATOR),
    ("GET", "/datastore/label?label=x", None, Role.ANNOTATOR),
    ("DELETE", "/datastore/label?id=x", None, Role.ANNOTATOR),
    ("GET", "/datastore/image?image=x", None, Role.ANNOTATOR),
    ("HEAD", "/datastore/image?image=x", None, Role.ANNOTATOR),
    ("HEAD", "/datastore/label?image=x", None, Role.ANNOTATOR),
    ("GET", "/datastore/image/info?image=x", None, Role.ANNOTATOR),
    ("GET", "/datastore/label/info?label=x", None, Role.ANNOTATOR),
    ("GET", "/auth/token/valid", None, Role.ANNOTATOR),
    ("GET", "/session/x", None, Role.ANNOTATOR),
    ("GET", "/datastore/dataset", None, Role.ANNOTATOR),
    ("DELETE", "/datastore/image?id=x", None, Role.ENGINEER),
    ("GET", "/batch/infer", None, Role.ANNOTATOR),
    ("POST", "/batch/infer/x", {}, Role.ENGINEER),
    ("DELETE", "/batch/infer", None, Role.ENGINEER),
    ("GET", "/model/x", None, Role.ENGINEER),
    ("GET", "/model/info/x", None, Role.ENGINEER),
    ("DELETE", "/model/x", None, Role.ENGINEER),
    ("PUT", "/model/x", None, Role.ADMIN),
    ("GET", "/proxy/dicom/x", None, Role.ANNOTATOR),
    ("POST", "/proxy/dicom/x", None, Role.ANNOTATOR),
    ("DELETE", "/session/x", None, Role.ANNOTATOR),
    ("GET", "/train", None, Role.ANNOTATOR),
    ("POST", "/train", {}, Role.ENGINEER),
    ("POST", "/train/x", {}, Role.ENGINEER),
    ("DELETE", "/train", None, Role.ENGINEER),
    ("GET", "/scoring", None, Role.ANNOTATOR),
    ("POST", "/scoring", {}, Role.ENGINEER),
    ("POST", "/scoring/x", {}, Role.ENGINEER),
    ("DELETE", "/scoring", None, Role.ENGINEER),
]
# Sent as a form, so it is walked in a test of its own.
FORMS = {
    ("PUT", f"{scope}{path}")
    for scope in ("", "/label/{dataset}")
    for path in (
        "/datastore/label",
        "/datastore/image",
        "/datastore/image/info",
        "/datastore/label/info",
        "/datastore/updatelabelinfo",
        "/session",
    )
}


@pytest.fixture
def settings(tmp_path: Path, catalog_url: str) -> Settings:
    """Each database in turn: what is refused must not depend on it."""
    return Settings(home=tmp_path / "home", catalog_url=catalog_url)


def _cases() -> Iterator[tuple[str, str, dict[str, object] | None, Role]]:
    for method, path, body, first in CLOUD:
        yield method, f"/api/v1/orgs/clinic{path}", body, first
    yield from OURS
    for method, path, body, first in LABEL:
        yield method, f"/label/{ID}{path}", body, first
        yield method, path, body, first


@pytest.mark.parametrize("role", ORDER)
def test_each_role_may_do_what_the_table_says_and_no_more(role: Role, people_of: dict[Role, Api]) -> None:
    for method, path, body, first in _cases():
        status = people_of[role].at(method, path, json=body).status_code
        allowed = ORDER.index(role) >= ORDER.index(first)
        assert (status != 403) is allowed, f"{method} {path}: {status}"
        assert status not in {401, 405, 500}, f"{method} {path}"


def test_no_route_answers_without_a_key(client: TestClient) -> None:
    for method, path, body, _first in _cases():
        assert client.request(method, path, json=body).status_code == 401, path


def test_no_route_answers_to_a_revoked_key(parts: Parts, people_of: dict[Role, Api]) -> None:
    admin = people_of[Role.ADMIN]
    for key in people.list_keys(parts, people.operator(admin.org)):
        people.revoke_key(parts, people.operator(admin.org), key.id)
    for method, path, body, _first in _cases():
        assert admin.at(method, path, json=body).status_code == 401, path


def test_pages_that_know_people_by_their_cookie_are_closed_without_one(client: TestClient) -> None:
    for path in ("/prefect/ui-settings", "/prefect/api/flows", "/prefect/runs", "/mlflow/version"):
        assert client.get(path).status_code == 401, path


def test_every_route_has_its_role_in_the_table(app: FastAPI) -> None:
    found = set(_names(app.routes))
    assert found - set(ROLES) - OPEN_PATHS == set(), "a route without a role: give it one in infra/doors/api/roles.py"
    assert (set(ROLES) | OPEN_PATHS) - found == set(), "a role without a route: take it out of infra/doors/api/roles.py"


def test_the_table_has_every_route(app: FastAPI) -> None:
    described = app.openapi()["paths"]
    found = {
        (method.upper(), path)
        for path, methods in described.items()
        for method in methods
        if path not in ANYBODY and "/users/{user_id}" not in path
    }
    walked = {(method, path.partition("?")[0]) for method, path, _, _ in _cases()}
    missing = {
        (method, path)
        for method, path in found - FORMS
        if not any(method == known and _fits(path, called) for known, called in walked)
    }
    assert missing == set()


def test_every_id_of_another_organisation_is_unknown(
    engineer: Api, stranger: Api, dataset: str, experiment: str
) -> None:
    job = engineer.made(f"/experiments/{experiment}/jobs", action="annotation", specs={"round_size": 1})
    body = {"name": "mine now", "action": "nextimage"}
    for path in (
        f"/datasets/{dataset}",
        f"/datasets/{dataset}/jobs",
        f"/experiments/{experiment}",
        f"/experiments/{experiment}/jobs",
        f"/experiments/{experiment}/jobs/{job}",
        f"/experiments/{experiment}/jobs/{job}/logs",
    ):
        assert stranger.call("GET", path).status_code == 404, path
    for method, path in (
        ("PATCH", f"/datasets/{dataset}"),
        ("DELETE", f"/datasets/{dataset}"),
        ("POST", f"/datasets/{dataset}/jobs"),
        ("PATCH", f"/experiments/{experiment}"),
        ("DELETE", f"/experiments/{experiment}"),
        ("POST", f"/experiments/{experiment}:cancel_all_jobs"),
        ("POST", f"/experiments/{experiment}/jobs/{job}:cancel"),
        ("DELETE", f"/experiments/{experiment}/jobs/{job}"),
    ):
        assert stranger.call(method, path, json=body).status_code == 404, path
    for path in (
        f"/label/{dataset}/info/",
        f"/label/{dataset}/datastore/image?image=p1/a",
        f"/api/teachback/v1/rounds?experiment={experiment}",
        f"/api/teachback/v1/models?experiment={experiment}",
        f"/api/teachback/v1/rounds/{job}:difference",
    ):
        assert stranger.at("GET", path).status_code == 404, path
    assert engineer.call("GET", f"/experiments/{experiment}").json()["name"] != "mine now"


def test_another_organisations_data_set_cannot_be_named_in_an_experiment(stranger: Api, dataset: str) -> None:
    body = {"network_arch": "monai_segmentation", "base_experiment": [BASE_ID], "train_datasets": [dataset]}
    reply = stranger.call("POST", "/experiments", json=body)
    assert reply.status_code == 400
    assert "Provided train_datasets cannot be added" in reply.json()["error_desc"]


def _names(routes: Iterable[BaseRoute]) -> Iterator[str]:
    """Return what the application answers: its functions by name, everything else by path."""
    for route in routes:
        inner = getattr(route, "original_router", None)  # FastAPI keeps included routers whole
        if inner is not None:
            yield from _names(inner.routes)
        elif isinstance(route, APIRoute):
            yield name_of(route.endpoint)
        else:
            yield str(getattr(route, "path", route))


def _fits(pattern: str, path: str) -> bool:
    """Say whether a path is one of a route's: the names in braces stand for one part each."""
    return re.fullmatch(re.sub(r"\\{\w+\\}", "[^/:]+", re.escape(pattern)), path) is not None

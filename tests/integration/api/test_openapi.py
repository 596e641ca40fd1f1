"""Every route against its own description: whatever it is sent, it answers what it says it may, and never fails inside.

Schemathesis makes requests from the OpenAPI description, with a fixed seed; half of them name what exists, so that they
get past the first look-up. The users' scope of the MONAI Cloud dialect has the functions of the organisations' one, and
the MONAI Label dialect at the server's root those that it has below a data set's name.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import schemathesis
from fastapi import FastAPI
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, Phase, given
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.core.result import Ok
from schemathesis.python.asgi import ASGIClient
from schemathesis.specs.openapi.checks import response_schema_conformance, status_code_conformance

from configs.settings import Settings
from infra.doors.api.logins import FailedLogins
from infra.services.callers import Role
from infra.wiring import Parts
from tests.integration.api.conftest import BASE_URL, Api, write_label
from tests.runs_in_memory import RunsInMemory

EXAMPLES = 10
SEED = 20261122
CHECKS = [not_a_server_error, status_code_conformance, response_schema_conformance]


@dataclass(frozen=True)
class Known:
    """What exists in each copy of the installation: by the name of a parameter or field, and keys by role."""

    home: Path
    ids: dict[str, Any]
    keys: dict[Role | None, str]


@pytest.fixture
def settings(tmp_path: Path, sqlite_template: Path) -> Settings:
    """All of it in one folder, to be copied."""
    home = tmp_path / "home"
    home.mkdir()
    shutil.copyfile(sqlite_template, home / "catalog.db")
    return Settings(home=home)


def test_no_route_fails_inside_or_answers_what_it_does_not_describe(
    app: FastAPI, people_of: dict[Role, Api], dataset: str, experiment: str, parts: Parts, tmp_path: Path
) -> None:
    known = _known(people_of, dataset, experiment, parts, tmp_path)
    paths = app.openapi()["paths"]
    described = schemathesis.openapi.from_dict(app.openapi())
    wrong = []
    for number, found in enumerate(described.get_all_operations()):
        assert isinstance(found, Ok)
        operation = found.ok()
        if operation.path.startswith("/api/v1/users/") or f"/label/{{dataset}}{operation.path}" in paths:
            continue
        with _installation(app, known, tmp_path / str(number)):
            wrong += _asked(operation, ASGIClient(app, BASE_URL), known)  # type: ignore[arg-type]  # its type wants dicts
    assert wrong == []


def _asked(operation: Any, client: ASGIClient, known: Known) -> list[str]:
    """Send one operation its examples; return what was wrong, with the first that was."""

    @hypothesis.seed(SEED)
    @hypothesis.settings(
        max_examples=EXAMPLES,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(), role=st.sampled_from([*known.keys, Role.ADMIN]), existing=st.booleans())
    def ask(case: Any, role: Role | None, existing: bool) -> None:
        if existing:
            _name_what_exists(case, known.ids)
        request = case.as_transport_kwargs(base_url=BASE_URL)
        request["headers"] = {**request.get("headers", {}), **_bearer(known.keys[role])}
        case.validate_response(client.request(**request), checks=CHECKS)

    try:
        ask()
    except FailureGroup as found:
        return [f"{operation.method.upper()} {operation.path}: {failure}" for failure in found.exceptions]
    return []


def _name_what_exists(case: Any, ids: dict[str, Any]) -> None:
    for given_ in (case.path_parameters, case.query, case.body):
        if isinstance(given_, dict):
            given_.update({name: ids[name] for name in given_ if name in ids})


def _bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"} if key else {}


def _known(people_of: dict[Role, Api], dataset: str, experiment: str, parts: Parts, folder: Path) -> Known:
    """Fill the installation: a label, a loop, a webhook; then close it, to be copied."""
    engineer, admin = people_of[Role.ENGINEER], people_of[Role.ADMIN]
    label = write_label(folder / "label.nii.gz")
    with label.open("rb") as file:
        saved = admin.at("PUT", f"/label/{dataset}/datastore/label?image=p1/a", files={"label": ("label.nii.gz", file)})
    assert saved.status_code == 200, saved.text
    loop = engineer.made(f"/experiments/{experiment}/jobs", action="annotation", specs={"round_size": 3})
    hook = admin.at("POST", "/api/teachback/v1/hooks", json={"url": "http://127.0.0.1:9/", "events": ["round.*"]})
    assert hook.status_code == 201, hook.text
    labels = admin.at("GET", f"/api/teachback/v1/datasets/{dataset}/labels").json()["labels"]
    ids = {
        "org": admin.org,
        "dataset_id": dataset,
        "dataset": dataset,
        "experiment_id": experiment,
        "experiment": experiment,
        "job_id": loop,
        "image": "p1/a",
        "images": ["p1/a"],
        "label": labels[0]["id"],
        "hook_id": hook.json()["id"],
        "action": "annotation",
        "train_datasets": [dataset],
    }
    keys: dict[Role | None, str] = {None: "", **{role: person.secret for role, person in people_of.items()}}
    parts.catalog.close()
    return Known(parts.settings.home, ids, keys)


@contextmanager
def _installation(app: FastAPI, known: Known, home: Path) -> Iterator[None]:
    """The application over a copy of the installation."""
    shutil.copytree(known.home, home)
    opened = Parts(Settings(home=home), orchestrator=RunsInMemory())
    app.state.parts, app.state.failed_logins = opened, FailedLogins()
    with TestClient(app, base_url=BASE_URL, raise_server_exceptions=False, follow_redirects=False):
        yield
    opened.close()
    shutil.rmtree(home)

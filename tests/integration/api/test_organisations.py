"""Nothing of one organisation is visible to another: every route that takes an id, with another's ids."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from sqlalchemy import select

from configs.settings import Settings
from infra.adapters.catalog.tables import Base, Job, Label, ModelVersion, Workspace
from infra.services import people
from infra.services.callers import Role
from infra.services.operating import hooks
from infra.wiring import Parts
from tests.integration.api.conftest import BASE_ID, ORG, Api, make_experiment, write_label

IMAGE = "p1/a"
# What a body has to have so that the id in the path is what the answer is about; `$name` = the other's id.
BODIES: dict[str, Any] = {
    "POST /datasets/{}/jobs": {"action": "nextimage"},
    "POST /experiments/{}/jobs": {"action": "train"},
    "POST /datasets/{}/images:skip": {"image": IMAGE, "reason": "mine"},
    "POST /datasets/{}/images:clear": {"image": IMAGE},
    "POST /labels/{}:send_back": {"reason": "mine"},
    "POST /labels/{}:release": {"names": {}},
    "POST /models:publish": {"experiment": "$experiment", "version": "$version"},
    "POST /models:decline": {"experiment": "$experiment", "version": "$version"},
    "POST /models:rollback": {"experiment": "$experiment"},
    "POST /hooks": {"dataset": "$dataset"},
}
FORMS = {
    "PUT /datastore/image/info": {"info": '{"skip": "mine"}'},
    "PUT /datastore/image": {},
    "PUT /datastore/label": {"params": "{}"},
    "PUT /model/{}": {},
    "POST /infer/wsi_v2/{}": {"wsi": "{}"},
    "POST /datasets/{}/labels:import": {},
    "PUT /datastore/label/info": {"info": '{"mine": 1}'},
    "PUT /datastore/updatelabelinfo": {"params": '{"status": "approved"}'},
}
UPLOADS = {
    "PUT /datastore/image": "file",
    "PUT /datastore/label": "label",
    "PUT /model/{}": "file",
    "POST /datasets/{}/labels:import": "label",
}
ASKED = {"image": IMAGE, "label": "$store_key", "id": "$store_key", "experiment": "$experiment"}
# Ids that stand in the body of a request whose path is the caller's own, or has none.
NAMED: list[tuple[str, str, dict[str, Any], int]] = [
    ("POST", "/experiments", {"train_datasets": ["$dataset"]}, 400),
    ("POST", "/experiments", {"eval_dataset": "$dataset"}, 400),
    ("POST", "/experiments", {"inference_dataset": "$dataset"}, 400),
    ("POST", "/experiments", {"base_experiment": ["$experiment"], "additional_id_info": "$job"}, 400),
    ("PATCH", "/experiments/$own_experiment", {"train_datasets": ["$dataset"]}, 400),
    ("POST", "/datasets/$own_dataset/jobs", {"action": "nextimage", "specs": {"experiment": "$experiment"}}, 404),
    (
        "POST",
        "/experiments/$own_experiment/jobs",
        {"action": "inference", "specs": {"image": IMAGE, "dataset_id": "$dataset"}},
        404,
    ),
    ("GET", "/experiments/$own_experiment/jobs/$job", {}, 404),
    ("POST", "/experiments", {"workspace": "$workspace"}, 400),
    ("PATCH", "/experiments/$own_experiment", {"workspace": "$workspace"}, 400),
    ("PATCH", "/datasets/$own_dataset", {"workspace": "$workspace"}, 400),
]
# Not of an organisation: bundles are everybody's, logs the operator's, and a webhook's sender has no key.
FREE = {"/hooks/{hook_id}", "/api/teachback/v1/logs/{name}"} | {
    f"/api/teachback/v1/bundles{rest}" for rest in ("", "/{name}")
}
# Uploads are of no data set: tests/integration/api/test_label_clients.py asks for another organisation's.
FREE |= {f"{scope}/session{rest}" for scope in ("", "/label/{dataset}") for rest in ("", "/{session_id}")}
# Asks nobody who they are, or says who the caller is.
FREE |= {f"/label/{{dataset}}/auth{rest}" for rest in ("", "/token", "/token/valid")}


@pytest.fixture
def settings(tmp_path: Path, catalog_url: str) -> Settings:
    """Each database in turn: what is seen must not depend on it."""
    return Settings(home=tmp_path / "home", catalog_url=catalog_url, realtime_quota=2)


@pytest.fixture
def theirs(parts: Parts, engineer: Api, dataset: str, experiment: str, folder: Any) -> dict[str, str]:
    """Ids of everything that one organisation has."""
    job = engineer.made(f"/experiments/{experiment}/jobs", action="annotation", specs={"round_size": 5})
    path = write_label(folder / "mine.nii.gz")
    with path.open("rb") as file:
        saved = engineer.at("PUT", f"/label/{dataset}/datastore/label?image={IMAGE}", files={"label": file})
    assert saved.status_code == 200, saved.text
    operator = people.operator(ORG)
    key = people.create_key(parts, operator, name="x", role=Role.ANNOTATOR)
    hook = hooks.subscribe(parts, operator, "http://127.0.0.1:9/", ["*"]).row.id
    with parts.catalog.write() as session:
        workspace = Workspace(org=ORG, name="x", spec={"cloud_type": "aws", "bucket": "theirs"})
        session.add(workspace)
    with parts.catalog.read() as session:
        label = session.scalars(select(Label.id)).one()
        version = session.scalars(select(ModelVersion.id)).first()
        assert session.scalars(select(Job.id)).one() == job
    return {
        "dataset": dataset,
        "experiment": experiment,
        "job": job,
        "key": key.id,
        "hook": hook,
        "label": label,
        "store_key": saved.json()["label"],
        "version": str(version),
        "workspace": workspace.id,
    }


@pytest.fixture
def own(stranger: Api, folder: Any) -> dict[str, str]:
    """The other organisation's own data set and experiment."""
    mine = str(stranger.made("/datasets", name="own", client_url=str(folder))["id"])
    return {"own_dataset": mine, "own_experiment": str(make_experiment(stranger, mine)["id"])}


def test_every_route_with_an_id_answers_404_to_another_organisation_and_changes_nothing(
    app: FastAPI, parts: Parts, stranger: Api, theirs: dict[str, str]
) -> None:
    walked = list(_walk(app, stranger, theirs))
    assert len(walked) > 40
    before = _dump(parts)
    answered = [(method, path, stranger.at(method, path, **options)) for method, path, options in walked]
    assert [(method, path, reply.text) for method, path, reply in answered if reply.status_code != 404] == []
    assert _dump(parts) == before


def test_the_other_organisations_ids_cannot_be_named_in_a_body(
    parts: Parts, stranger: Api, theirs: dict[str, str], own: dict[str, str]
) -> None:
    ids = theirs | own
    before = _dump(parts)
    for method, path, body, status in NAMED:
        base = {"network_arch": "monai_segmentation", "base_experiment": [BASE_ID]}
        sent = _filled({**base, **body} if path == "/experiments" else body, ids)
        reply = stranger.call(method, _filled(path, ids), json=sent if method != "GET" else None)
        assert reply.status_code == status, f"{method} {path} {body}: {reply.status_code} {reply.text[:300]}"
    assert _dump(parts) == before


def test_an_organisation_may_be_called_anything(parts: Parts, engineer: Api, dataset: str) -> None:
    org = "Klinik Süd, Station 3"
    made = people.create_key(parts, people.operator(org), name="x", role=Role.ENGINEER)
    person = Api(engineer.client, org, made.secret)
    assert person.call("GET", "/datasets").json() == []
    assert person.call("GET", f"/datasets/{dataset}").status_code == 404
    assert Api(engineer.client, ORG, made.secret).call("GET", f"/datasets/{dataset}").status_code in {403, 404}


def test_lists_and_counts_have_only_ones_own(stranger: Api, theirs: dict[str, str]) -> None:
    for path in ("/datasets", "/workspaces", "/experiments?user_only=true", "/experiments/*/jobs"):
        assert stranger.call("GET", path).json() == [], path
    for path in ("datasets", "hooks", "status", "keys"):
        text = stranger.at("GET", f"/api/teachback/v1/{path}").text
        assert not any(one in text for one in theirs.values()), path
    counts = stranger.at("GET", "/api/teachback/v1/status").json()["counts"]
    assert set(counts.values()) == {0}


def _walk(app: FastAPI, stranger: Api, ids: dict[str, str]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Return every described route that takes an id, with the ids put in; other people's org and user paths too."""
    for path, methods in app.openapi()["paths"].items():
        if path in FREE:
            continue
        for method, described in methods.items():
            asked = [each["name"] for each in described.get("parameters", ()) if each["in"] == "query"]
            for start in _starts(path, stranger):
                options = _options(method.upper(), path, asked)
                filled = re.sub(r"{(\w+)}", lambda found: _id(found[1], ids), start)
                takes = "{" in re.sub(r"{org}|{user_id}", "", path) or "experiment" in asked or "$" in str(options)
                if takes or (ORG in start and "/orgs/" in start):
                    yield method.upper(), filled, _filled(options, ids)


def _starts(path: str, stranger: Api) -> list[str]:
    if "{org}" in path:
        return [path.replace("{org}", stranger.org), path.replace("{org}", ORG)]
    if "{user_id}" in path:
        return [path.replace("{user_id}", "11111111-2222-4333-8444-555555555555")]
    return [path]


def _options(method: str, path: str, asked: list[str]) -> dict[str, Any]:
    known = re.sub(r"^.*?/(v1|users/{user_id}|orgs/{org}|label/{dataset})(?=/)", "", path)
    known = re.sub(r"^/(orgs/{org}|users/{user_id})", "", known)
    name = f"{method} {re.sub(r'{[^}]*}', '{}', known)}"
    options: dict[str, Any] = {"params": {each: ASKED[each] for each in asked if each in ASKED}}
    if name in FORMS:
        options["data"] = FORMS[name]
        if name in UPLOADS:
            options["files"] = {UPLOADS[name]: "x"}
    elif method in {"POST", "PUT", "PATCH"}:
        options["json"] = BODIES.get(name, {})
    return options


def _id(name: str, ids: dict[str, str]) -> str:
    """Return the id that a path's parameter stands for."""
    known = {
        **ids,
        "action": "train",
        "model": ids["experiment"],
        "strategy": "random",
        "method": "entropy",
        "session": ids["job"],
        "path": "studies",
        "form": "nifti",
    }
    return known[name.removesuffix("_id")]


def _filled(value: Any, ids: dict[str, str]) -> Any:
    return json.loads(re.sub(r"\$(\w+)", lambda found: ids[found[1]], json.dumps(value)))


def _dump(parts: Parts) -> dict[str, list[str]]:
    """Return every row of every table, but when keys were last used."""
    with parts.catalog.read() as session:
        return {
            name: sorted(str({column: row[column] for column in row if column != "used_at"}) for row in rows)
            for name, table in Base.metadata.tables.items()
            if (rows := [dict(row._mapping) for row in session.execute(select(table))]) is not None
        }

"""Data sets in the MONAI Cloud dialect."""

import json
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select

from configs.settings import Settings
from infra.adapters.catalog.tables import Audit, Image, VaultValue
from infra.doors.api.app import create_app
from infra.services import people
from infra.services.callers import Role
from infra.wiring import Parts
from tasks.images.stores import image_of, store_of
from tasks.serving.answers import Origin, keep, kept
from tests.integration.api.conftest import BASE_URL, ORG, Api, make_experiment
from tests.runs_in_memory import RunsInMemory


def test_a_body_without_a_content_type_is_read_as_the_guides_send_it(engineer: Api, folder: Path) -> None:
    body = json.dumps({"name": "set", "client_url": str(folder), "format": "monai", "surprise": 1})
    for content_type in (None, "application/x-www-form-urlencoded", "text/plain"):
        headers = {"Content-Type": content_type} if content_type else {}
        reply = engineer.call("POST", "/datasets", content=body, headers=headers)
        assert reply.status_code == 201, reply.text
    made = reply.json()
    assert made["status"] == "pull_complete"
    assert made["actions"] == ["nextimage", "cacheimage", "notify"]


@pytest.mark.parametrize("url", ["", "relative/folder", "s3://bucket/x", "/nowhere/at/all", "ftp://host/x"])
def test_an_address_that_is_no_store_is_refused_and_leaves_nothing(engineer: Api, url: str) -> None:
    reply = engineer.call("POST", "/datasets", json={"name": "set", "client_url": url})
    assert reply.status_code == 400
    assert reply.json()["error_code"] == 400
    assert engineer.call("GET", "/datasets").json() == []


def test_an_inner_address_is_refused_and_the_setting_is_named(engineer: Api) -> None:
    reply = engineer.call("POST", "/datasets", json={"client_url": "http://169.254.169.254/latest/meta-data"})
    assert reply.status_code == 400
    assert "TEACHBACK_EGRESS_ALLOW" in reply.json()["error_desc"]


def test_a_web_server_that_is_no_dicomweb_server_cannot_be_resolved(engineer: Api) -> None:
    reply = engineer.call("POST", "/datasets", json={"client_url": "http://127.0.0.1:9/dicom-web"})
    assert reply.status_code == 400
    assert reply.json()["error_desc"].startswith("Cannot resolve the dataset.")


def test_folders_of_the_server_are_named_only_on_a_single_machine_or_where_its_operator_named_them(
    settings: Settings, runs: RunsInMemory, folder: Path
) -> None:
    opened = f"/nowhere:{folder / 'p1'}"
    served = settings.model_copy(update={"host": "0.0.0.0", "folders": opened})  # noqa: S104 - nothing listens here
    parts = Parts(served, orchestrator=runs)
    key = people.create_key(parts, people.operator(ORG), name="x", role=Role.ENGINEER)
    with TestClient(create_app(parts, run_loops=False), base_url=BASE_URL) as client:
        named = (folder, folder / "p1" / ".." / "p2", folder / "p1")
        replies = [
            Api(client, ORG, key.secret).call("POST", "/datasets", json={"client_url": str(each)}) for each in named
        ]
    parts.close()
    assert [reply.status_code for reply in replies] == [400, 400, 201]
    assert "loopback" in replies[0].json()["error_desc"]


def test_credentials_are_sealed_and_never_shown(engineer: Api, parts: Parts, folder: Path) -> None:
    secret = "pa55word-of-the-pacs"
    made = engineer.call(
        "POST", "/datasets", json={"client_url": str(folder), "client_id": "reader", "client_secret": secret}
    )
    shown = [made.text, engineer.call("GET", "/datasets").text]
    assert made.status_code == 201
    assert not any(secret in text or "client_secret" in text for text in shown)
    with parts.catalog.read() as session:
        [value] = session.scalars(select(VaultValue))
        details = [row.detail for row in session.scalars(select(Audit))]
    assert secret.encode() not in value.ciphertext
    assert secret not in str(details)
    assert secret not in parts.redactor.redact(f"refused {secret}")


def test_patch_changes_only_what_it_names(engineer: Api, dataset: str) -> None:
    before = engineer.call("GET", f"/datasets/{dataset}").json()
    after = engineer.call("PATCH", f"/datasets/{dataset}", json={"name": "renamed", "shared": True}).json()
    changed = {name for name in before if before[name] != after[name]}
    assert changed <= {"name", "shared", "last_modified"}
    assert (after["name"], after["shared"]) == ("renamed", True)


def test_type_and_format_stay_as_they_are(engineer: Api, dataset: str) -> None:
    reply = engineer.call("PATCH", f"/datasets/{dataset}", json={"type": "object_detection", "name": "x"})
    assert reply.status_code == 400
    assert "Cannot change dataset type" in reply.json()["error_desc"]
    assert engineer.call("GET", f"/datasets/{dataset}").json()["name"] == "set"


def test_a_data_set_in_use_is_not_deleted_and_one_that_is_deleted_is_gone(engineer: Api, dataset: str) -> None:
    experiment = make_experiment(engineer, dataset)["id"]
    refused = engineer.call("DELETE", f"/datasets/{dataset}")
    assert refused.status_code == 400
    assert refused.json()["error_desc"].startswith("Dataset in use")
    assert engineer.call("DELETE", f"/experiments/{experiment}").status_code == 200
    assert engineer.call("DELETE", f"/datasets/{dataset}").status_code == 200
    assert engineer.call("DELETE", f"/datasets/{dataset}").status_code == 404
    assert engineer.call("GET", "/datasets").json() == []


def test_what_is_cached_of_a_deleted_data_set_goes_and_of_another_stays(
    engineer: Api, dataset: str, parts: Parts
) -> None:
    with parts.catalog.read() as session:
        (image, *_) = session.scalars(select(Image).where(Image.dataset_id == dataset)).all()
    local = image_of(parts, store_of(parts, dataset), image)
    origin = Origin(version="v", score=None)
    keep(parts, f"{dataset}\nimage", b"theirs", origin)
    keep(parts, "another\nimage", b"another's", origin)
    tensor = parts.settings.cache_dir / "hosts" / "bundle" / "tensor" / "ab" / "abcd"
    tensor.parent.mkdir(parents=True)
    tensor.write_bytes(b"voxels")

    assert engineer.call("DELETE", f"/datasets/{dataset}").status_code == 200

    assert not local.path.exists()
    assert not tensor.exists()
    assert kept(parts, f"{dataset}\nimage") is None
    assert kept(parts, "another\nimage") == (b"another's", origin)


def test_lists_are_bare_or_wrapped_and_come_in_pages(engineer: Api, folder: Path) -> None:
    for name in ("b", "a", "c"):
        engineer.made("/datasets", name=name, client_url=str(folder))
    bare = engineer.call("GET", "/datasets?sort=name-ascending&size=2&skip=1")
    assert [row["name"] for row in bare.json()] == ["b", "c"]
    assert bare.headers["X-Pagination-Total"] == "3"
    wrapped = engineer.call(
        "GET", "/datasets?skip=0&size=2", headers={"Accept": "application/vnd.teachback.wrapped+json"}
    ).json()
    assert [row["name"] for row in wrapped["datasets"]] == ["c", "a"]
    assert wrapped["pagination_info"] == {"total_records": 3, "total_pages": 2, "page_size": 2, "page_index": 0}
    assert [row["name"] for row in engineer.call("GET", "/datasets?name=!a&sort=name-descending").json()] == ["c", "b"]
    assert engineer.call("GET", "/datasets?size=0").status_code == 400


@pytest.mark.parametrize("role", [Role.ENGINEER, Role.ADMIN])
@pytest.mark.parametrize("place", ["home", "home/cache", "home/artifacts/x", "home/../home/work", "."])
def test_no_data_set_reads_or_writes_what_this_installation_keeps(
    people_of: dict[Role, Api], dataset: str, parts: Parts, role: Role, place: str
) -> None:
    named = str(parts.settings.home.parent / place)
    refused = people_of[role].call("POST", "/datasets", json={"client_url": named})
    assert refused.status_code == 400
    refused = people_of[role].call("PATCH", f"/datasets/{dataset}", json={"labels_to": named})
    assert refused.status_code == 400

"""A server that asks nobody for a key: this machine alone is let in, and by its own names."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from PIL import Image

from configs.errors import InvalidRequestError
from configs.settings import Settings
from infra.adapters.catalog import people as catalog
from infra.doors.api.app import create_app
from infra.doors.cli.installation import settings_for
from infra.services.operating.pages import HOME_ORG
from infra.wiring import Parts
from tests.integration.api.conftest import BASE_URL, write_label
from tests.runs_in_memory import RunsInMemory

HERE = ("127.0.0.1", 50000)


@pytest.fixture
def open_parts(settings: Settings, runs: RunsInMemory) -> Iterator[Parts]:
    changed = {"auth": False, "allowed_hosts": "proxy.example"}
    parts = Parts(settings.model_copy(update=changed), orchestrator=runs)
    parts.catalog.migrate()
    with parts.catalog.write() as session:
        catalog.ensure_org(session, HOME_ORG)
    yield parts
    parts.close()


@pytest.fixture
def here(open_parts: Parts) -> TestClient:
    return TestClient(create_app(open_parts, run_loops=False), base_url=BASE_URL, client=HERE)


def test_whoever_is_here_works_without_a_key_and_an_admins_work_takes_one(
    here: TestClient, folder: Path, tmp_path: Path
) -> None:
    assert here.get("/auth/").status_code == 404
    user = here.get("/auth/token/valid").json()
    assert user["roles"] == ["engineer"]
    (folder / "p5").mkdir()
    Image.new("L", (8, 8)).save(folder / "p5" / "a.png")
    made = here.post(f"/api/v1/orgs/{HOME_ORG}/datasets", json={"name": "studies", "client_url": str(folder)})
    assert made.status_code == 201, made.text
    assert here.get("/info/").json()["datastore"]["total"] == 7
    sample = here.post("/activelearning/first", json={}).json()
    image, volume = sample["id"], folder / f"{sample['id']}.nii.gz"
    assert Path(sample["path"]) == volume
    assert volume.exists(), "a client on this machine opens it where it is"
    assert here.get(f"/datastore/image/info?image={image}").json()["path"] == str(volume)
    assert here.get("/datastore/image/info?image=p5/a").json()["path"] == "p5/a", "no volume, which Slicer would place"
    with write_label(tmp_path / "label.nii.gz").open("rb") as file:
        params = json.dumps({"label_info": [{"name": "liver", "idx": 1}]})
        saved = here.put(f"/datastore/label?image={image}", files={"label": file}, data={"params": params})
    assert saved.status_code == 200, saved.text
    assert here.get("/logs/").status_code == here.post("/api/teachback/v1/keys", json={}).status_code == 403
    assert here.get("/info/", headers={"Authorization": "Bearer tb_wrong"}).status_code == 401


def test_what_comes_through_a_proxy_by_another_name_or_from_elsewhere_is_refused(here: TestClient) -> None:
    for headers, status in (
        ({"X-Forwarded-For": "203.0.113.7"}, 403),
        ({"Forwarded": "for=127.0.0.1"}, 403),
        ({"Via": "1.1 proxy"}, 403),
        ({"Host": "rebound.example"}, 400),
        ({"Host": "proxy.example"}, 400),
    ):
        assert here.get("/auth/token/valid", headers=headers).status_code == status, headers
    assert here.post("/activelearning/first", json={}, headers={"Origin": "https://evil.example"}).status_code == 403
    other = TestClient(here.app, base_url=BASE_URL, client=("203.0.113.7", 1))
    assert other.get("/auth/token/valid").status_code == 403


def test_keys_are_off_on_loopback_alone(tmp_path: Path) -> None:
    off = {"auth": "false"}
    assert settings_for(tmp_path, "127.0.0.1", 0, insecure_network=False, changes=off).open_here
    with pytest.raises(InvalidRequestError, match="--no-auth lets in whoever"):
        settings_for(tmp_path, "0.0.0.0", 0, insecure_network=True, changes=off)  # noqa: S104 - nothing listens
    with pytest.raises(InvalidRequestError, match="--no-auth lets in whoever"):
        settings_for(tmp_path, "::1", 0, insecure_network=False, changes={**off, "allowed_hosts": "a.example"})
    with pytest.raises(InvalidRequestError, match="--no-auth lets in whoever"):
        settings_for(tmp_path, "::1", 0, insecure_network=False, changes={**off, "cors_origins": "https://a.example"})
    assert not Settings(home=tmp_path, host="0.0.0.0", auth=False).open_here  # noqa: S104 - nothing listens

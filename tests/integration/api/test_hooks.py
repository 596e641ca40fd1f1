"""A PACS tells of its new series: signed messages by hand, and a real Orthanc with our Lua script."""

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import numpy as np
import pydicom
import pytest
import requests
import uvicorn
from fastapi import FastAPI
from fastapi.testclient import TestClient
from httpx import Response
from pydicom.dataset import FileDataset
from sqlalchemy import func, select

from infra.adapters.catalog.tables import Image, Label
from infra.adapters.security.webhooks import signed
from infra.services.callers import Role
from infra.wiring import Parts
from tasks.delivery.dispatch import HOOKS, deliver_due
from tasks.images.volume import Volume
from tasks.labels.forms.write import Origin, write_seg
from tests.dicom_series import SHAPE, asymmetric, make_series, oblique_affine
from tests.fixtures_orthanc import Orthanc, running_orthanc
from tests.integration.api.conftest import Api
from tests.processes import free_port, wait_until

SCRIPT = Path(__file__).resolve().parents[3] / "infra/deploy/orthanc/stable_series.lua"


def _pacs(engineer: Api, orthanc: Orthanc, patient: str) -> str:
    made = engineer.made("/datasets", name="pacs", client_url=orthanc.dicomweb, filters=f"PatientID={patient}")
    return str(made["id"])


def _listening(admin: Api, dataset: str) -> tuple[str, str]:
    made = admin.at("POST", "/api/teachback/v1/hooks", json={"dataset": dataset}).json()
    return made["path"], made["secret"]


def _tell(client: TestClient, path: str, secret: str, data: object, *, message: str = "", **more: str) -> Response:
    body = json.dumps({"data": data}).encode()
    headers = {**signed([secret], message or uuid4().hex, body, datetime.now(UTC)), **more}
    reply: Response = client.post(path, content=body, headers=headers)
    return reply


def _seg(series: list[FileDataset], path: Path, origin: Origin = "MANUAL") -> FileDataset:
    """A label that another program made of the series."""
    marks = np.zeros(SHAPE, np.uint8)
    marks[1:3, 0, 0] = 1
    volume = Volume(marks, oblique_affine())
    write_seg(volume, {1: "liver"}, list(series), path, label_id=uuid4().hex, author="E", origin=origin)
    seg = pydicom.dcmread(path)
    seg.Manufacturer = "another"
    return seg


def _count(parts: Parts, table: type[Image | Label]) -> int:
    with parts.catalog.read() as session:
        return session.scalar(select(func.count()).select_from(table)) or 0


def test_a_new_image_refreshes_the_catalog_and_a_label_of_it_is_notified_once(
    people_of: dict[Role, Api], orthanc: Orthanc, client: TestClient, parts: Parts, tmp_path: Path
) -> None:
    patient = uuid4().hex[:12]
    series = [make_series(asymmetric(), oblique_affine(), patient=patient) for _ in range(2)]
    orthanc.upload(series[0])
    dataset = _pacs(people_of[Role.ENGINEER], orthanc, patient)
    path, secret = _listening(people_of[Role.ADMIN], dataset)
    orthanc.upload(series[1])

    image = _tell(client, path, secret, {"series": series[1][0].SeriesInstanceUID})
    assert (image.status_code, image.json()["done"]) == (200, "refreshed")
    assert _count(parts, Image) == 2

    label = _seg(series[1], tmp_path / "a.dcm")
    orthanc.upload([label])
    first = _tell(client, path, secret, {"series": label.SeriesInstanceUID}, message="one")
    again = _tell(client, path, secret, {"series": label.SeriesInstanceUID}, message="one")
    other = _tell(client, path, secret, {"series": label.SeriesInstanceUID}, message="two")
    assert (first.status_code, first.json()["done"]) == (200, "notified")
    assert (again.status_code, again.json()["reason"]) == (202, "this message came before")
    assert other.json()["reason"] == "it was known already"
    assert _count(parts, Label) == 1

    machine = _seg(series[1], tmp_path / "b.dcm", "AUTOMATIC")
    orthanc.upload([machine])
    for data in ({"series": machine.SeriesInstanceUID}, {"series": "1.2.3"}, {"series": "../x"}, {}, 5):
        reply = _tell(client, path, secret, data)
        assert (reply.status_code, reply.json()["done"]) == (202, "nothing"), data
        assert reply.json()["reason"]
    assert _count(parts, Label) == 1


def test_a_message_that_is_not_signed_is_refused_whatever_it_says(
    people_of: dict[Role, Api], orthanc: Orthanc, client: TestClient
) -> None:
    dataset = _pacs(people_of[Role.ENGINEER], orthanc, "nobody")
    admin = people_of[Role.ADMIN]
    path, secret = _listening(admin, dataset)
    outgoing = admin.at("POST", "/api/teachback/v1/hooks", json={"url": "http://127.0.0.1:9/", "events": ["*"]}).json()
    assert client.post(path, json={"data": {"series": "1.2"}}).status_code == 401
    assert _tell(client, path, "whsec_AAAA", {"series": "1.2"}).status_code == 401
    assert _tell(client, f"/hooks/{outgoing['id']}", outgoing["secret"], {}).status_code == 401
    assert _tell(client, "/hooks/unknown", secret, {}).status_code == 401
    assert _tell(client, path, secret, {"series": "1.2"}).status_code == 202
    rotated = admin.at("POST", f"/api/teachback/v1{path}:rotate").json()["secret"]
    for good in (secret, rotated):
        assert _tell(client, path, good, {"series": "1.2"}).status_code == 202
    assert admin.at("DELETE", f"/api/teachback/v1{path}").status_code == 204
    assert _tell(client, path, rotated, {"series": "1.2"}).status_code == 401


def test_webhooks_are_for_admins_and_show_no_secret(people_of: dict[Role, Api], folder: Path) -> None:
    admin, engineer = people_of[Role.ADMIN], people_of[Role.ENGINEER]
    made = engineer.made("/datasets", name="set", client_url=str(folder))
    refused = admin.at("POST", "/api/teachback/v1/hooks", json={"dataset": made["id"]})
    assert "no DICOMweb server" in refused.json()["detail"]
    for body in (
        {"url": "http://127.0.0.1:9/", "events": ["round.ended"]},
        {"url": "http://127.0.0.1:9/", "events": []},
        {"url": "http://169.254.169.254/", "events": ["*"]},
        {"url": "file:///etc/passwd", "events": ["*"]},
    ):
        assert admin.at("POST", "/api/teachback/v1/hooks", json=body).status_code == 400, body
    new = admin.at("POST", "/api/teachback/v1/hooks", json={"url": "http://10.0.0.1/x", "events": ["round.*"]})
    assert new.json()["secret"].startswith("whsec_")
    listed = admin.at("GET", "/api/teachback/v1/hooks")
    assert [hook["url"] for hook in listed.json()] == ["http://10.0.0.1/x"], "naming it allowed it"
    assert new.json()["secret"] not in listed.text


@pytest.fixture
def address(app: FastAPI, parts: Parts) -> Iterator[str]:
    """The application on a port: Orthanc has to reach it."""
    app.state.parts = parts
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_config=None))
    thread = threading.Thread(target=server.run)
    thread.start()
    wait_until(lambda: server.started, "the application to listen")
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join()


def test_orthancs_stable_series_event_reaches_us_by_the_script(
    address: str, people_of: dict[Role, Api], parts: Parts, tmp_path: Path
) -> None:
    admin = people_of[Role.ADMIN]
    # The webhook needs a data set, which needs its server: Orthanc starts once without the script.
    port = free_port()
    with running_orthanc(tmp_path, more={"HttpPort": port}) as plain:
        dataset = admin.made("/datasets", name="pacs", client_url=plain.dicomweb)["id"]
        path, secret = _listening(admin, dataset)
    environment = {"TEACHBACK_HOOK_URL": address + path, "TEACHBACK_HOOK_SECRET": secret}
    told = {"HttpPort": port, "LuaScripts": [str(SCRIPT)], "StableAge": 1}
    with running_orthanc(tmp_path, more=told, environment=environment) as orthanc:
        series = make_series(asymmetric(), oblique_affine())
        orthanc.upload(series)
        wait_until(lambda: _delivered(parts) and _count(parts, Image) == 1, "the image to be known")
        orthanc.upload([_seg(series, tmp_path / "a.dcm")])
        wait_until(lambda: _delivered(parts) and _count(parts, Label) == 1, "the label to be counted")
        assert requests.get(f"{orthanc.url}/system", timeout=5).ok
    assert admin.at("GET", "/api/teachback/v1/hooks").json()[0]["worked_at"] is not None


def _delivered(parts: Parts) -> bool:
    deliver_due(parts, HOOKS)
    return True

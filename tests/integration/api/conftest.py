"""The real application over a real catalog and a real folder of images; runs are in memory."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import uvicorn
from fastapi import FastAPI
from fastapi.testclient import TestClient
from httpx import Response
from sqlalchemy import select, update

from configs.settings import Settings
from configs.states import SlotState
from infra.adapters.catalog.tables import Bundle, Experiment, Slot
from infra.adapters.catalog.tables.base import now
from infra.doors.api.logins import FailedLogins
from infra.services import people
from infra.services.callers import Role
from infra.wiring import Parts
from tasks.images.geometry import RAS_FROM_LPS
from tasks.images.volume import Volume
from tasks.labels.forms.write import to_nrrd
from tests.integration.api.label_client import SHAPE, LabelClient
from tests.integration.api.slot_server import TOKEN, SlotServer
from tests.processes import wait_until
from tests.runs_in_memory import RunsInMemory

BASE_URL = "http://127.0.0.1:8000"
ORG, OTHER_ORG = "clinic", "elsewhere"
BASE_ID = "0b8f7a1e-5d0e-4a3e-9f0e-3c5f1f6f0a11"
LABELS = {"1": "liver", "2": "spleen"}


@dataclass
class Api:
    """One person's way in: a client with a key, and the paths of their organisation."""

    client: TestClient
    org: str
    secret: str

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.secret}"}

    def call(self, method: str, path: str, **options: Any) -> Response:
        """Call a path of the organisation, such as `/datasets`."""
        return self.at(method, f"/api/v1/orgs/{self.org}{path}", **options)

    def at(self, method: str, path: str, *, headers: dict[str, str] | None = None, **options: Any) -> Response:
        """Call any path with the key."""
        reply: Response = self.client.request(method, path, headers={**self.headers, **(headers or {})}, **options)
        return reply

    def made(self, path: str, **body: Any) -> Any:
        """Post a body and return what was made."""
        reply = self.call("POST", path, json=body)
        assert reply.status_code == 201, reply.text
        return reply.json()


@pytest.fixture
def settings(tmp_path: Path, sqlite_url: str) -> Settings:
    return Settings(home=tmp_path / "home", catalog_url=sqlite_url, realtime_quota=2)


@pytest.fixture
def parts(settings: Settings, runs: RunsInMemory) -> Iterator[Parts]:
    opened = Parts(settings, orchestrator=runs)
    _register_bundle(opened)
    yield opened
    opened.close()


@pytest.fixture
def client(app: FastAPI, parts: Parts) -> Iterator[TestClient]:
    app.state.parts, app.state.failed_logins = parts, FailedLogins()
    with TestClient(app, base_url=BASE_URL, raise_server_exceptions=False) as opened:
        yield opened


@pytest.fixture
def people_of(parts: Parts, client: TestClient) -> dict[Role, Api]:
    """One person of each role, in one organisation."""
    return {role: _person(parts, client, ORG, role) for role in Role}


@pytest.fixture
def engineer(people_of: dict[Role, Api]) -> Api:
    return people_of[Role.ENGINEER]


@pytest.fixture
def annotator(people_of: dict[Role, Api]) -> Api:
    return people_of[Role.ANNOTATOR]


@pytest.fixture
def stranger(parts: Parts, client: TestClient) -> Api:
    """An administrator of another organisation."""
    return _person(parts, client, OTHER_ORG, Role.ADMIN)


@pytest.fixture
def address(app: FastAPI, client: TestClient) -> Iterator[str]:
    """The application on a port, with this test's parts."""
    assert client.app is app
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error", lifespan="off"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    wait_until(lambda: server.started, "the application to listen")
    [socket] = server.servers[0].sockets
    yield f"http://127.0.0.1:{socket.getsockname()[1]}"
    server.should_exit = True
    thread.join()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Six images of four patients, small, with an affine that is not plain."""
    root = tmp_path / "images"
    rng = np.random.default_rng(0)
    for name in ("p1/a", "p1/b", "p2/a", "p2/b", "p3/a", "p4/a"):
        path = root / f"{name}.nii.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        nib.save(nib.Nifti1Image(rng.normal(size=(6, 7, 8)).astype(np.float32), AFFINE), path)
    return root


AFFINE = np.array([[-1.5, 0, 0, 10], [0, 1.25, 0, -20], [0, 0, 2, 30], [0, 0, 0, 1]], dtype=np.float64)


def write_label(path: Path, value: int = 1) -> Path:
    """Write a label map that fits the images, with a box of one value."""
    array = np.zeros((6, 7, 8), dtype=np.uint8)
    array[1:4, 1:4, 1:4] = value
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(array, AFFINE), path)
    return path


@pytest.fixture
def dataset(engineer: Api, folder: Path) -> str:
    """The id of a data set over the folder."""
    made = engineer.made("/datasets", name="set", client_url=str(folder), type="semantic_segmentation", format="monai")
    return str(made["id"])


@pytest.fixture
def experiment(engineer: Api, dataset: str) -> str:
    """The id of an experiment on the data set, without realtime inference."""
    return str(make_experiment(engineer, dataset)["id"])


@pytest.fixture
def slot(parts: Parts, experiment: str) -> Iterator[SlotServer]:
    """A ready slot of the experiment."""
    with SlotServer() as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        with parts.catalog.write() as session:
            row = session.get_one(Experiment, experiment)
            row.realtime = True
            ready = Slot(org=row.org, experiment_id=row.id, state=SlotState.READY, token=TOKEN, serving_seq=1)
            ready.endpoint = f"http://127.0.0.1:{running.server_port}"
            ready.lease_until = (session.scalar(select(now())) or 0) + 600
            session.add(ready)
        yield running
        running.shutdown()
        thread.join()


def make_experiment(engineer: Api, dataset: str, **more: Any) -> Any:
    """Make an experiment on a data set."""
    body = {
        "name": "liver and spleen",
        "network_arch": "monai_segmentation",
        "base_experiment": [BASE_ID],
        "train_datasets": [dataset],
        "eval_dataset": dataset,
        "inference_dataset": dataset,
        **more,
    }
    return engineer.made("/experiments", **body)


def _person(parts: Parts, client: TestClient, org: str, role: Role) -> Api:
    made = people.create_key(parts, people.operator(org), name=f"the {role}", role=role)
    return Api(client, org, made.secret)


def _register_bundle(parts: Parts) -> None:
    """Note a bundle as registration would, without running its code: that has tests of its own."""
    with parts.catalog.write() as session:
        session.add(Bundle(id="b" * 64, name="small", version="1.0.0", tier="A", labels=LABELS, check={}))
        session.flush()
        session.add(
            Experiment(
                id=BASE_ID,
                org=None,
                base=True,
                name="small",
                arch="monai_segmentation",
                bundle_id="b" * 64,
                labels=LABELS,
                lineage=BASE_ID,
                shown={"version": "1.0.0"},
            )
        )


@pytest.fixture
def answer(slot: SlotServer) -> np.ndarray[Any, Any]:
    """What the slot answers: a box, and another, in the geometry of the images."""
    array = np.zeros(SHAPE, np.uint8)
    array[1:4, 2:5, 1:3], array[4:, 5:, 6:] = 1, 2
    slot.content, slot.clicks = to_nrrd(Volume(array, RAS_FROM_LPS @ AFFINE)), True
    return array


@pytest.fixture
def slicer(people_of: dict[Role, Api], address: str, parts: Parts, experiment: str) -> LabelClient:
    """Slicer's module, at the server's root; its user may train."""
    assert experiment
    with parts.catalog.write() as session:
        session.execute(update(Bundle).values(check={"training_keys": []}))
    return LabelClient(address, people_of[Role.ENGINEER].secret)

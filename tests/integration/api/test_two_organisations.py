"""Requests to each architecture from two organisations at once: ids, predictions, errors and caches stay apart."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from random import Random
from threading import Lock, Thread
from typing import Any

import pytest
from requests_toolbelt.multipart.decoder import MultipartDecoder
from sqlalchemy import select

from configs.settings import Settings
from configs.states import SlotState
from configs.wire.slot import (
    CACHED_HEADER,
    SECONDS_HEADER,
    SEQUENCE_HEADER,
    TOKEN_HEADER,
    VERSION_HEADER,
    SlotError,
    SlotPredict,
)
from infra.adapters.catalog.tables import Experiment, Image, Slot
from infra.adapters.catalog.tables.base import now
from infra.services.learning.archs import OFFERED
from infra.wiring import Parts
from tests.integration.api.conftest import BASE_ID, Api

IMAGES = ("p1/a", "p1/b", "p2/a")
ASKED = 12
CLIENTS = 8


@dataclass(frozen=True)
class Served:
    """One organisation's experiment of one architecture, and what its slot has to answer with."""

    api: Api
    arch: str
    dataset: str
    experiment: str
    images: dict[str, int]


class _Slot(ThreadingHTTPServer):
    """Answers with its own name and the image that it was asked about; refuses points in its own name."""

    def __init__(self, name: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.name = name
        self.asked: list[SlotPredict] = []
        self.lock = Lock()


class _Handler(BaseHTTPRequestHandler):
    server: _Slot

    def do_POST(self) -> None:
        name = self.server.name
        assert self.headers[TOKEN_HEADER] == f"token of {name}"
        asked = SlotPredict.model_validate_json(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.lock:
            self.server.asked.append(asked)
        refused = bool(asked.spec.points)
        said = SlotError(code="bad_input", message=f"{name} takes no points").model_dump_json()
        self.send_response(400 if refused else 200)
        known = {VERSION_HEADER: name, SEQUENCE_HEADER: "1", CACHED_HEADER: "false", SECONDS_HEADER: "0.1"}
        for header, value in known.items():
            self.send_header(header, value)
        self.end_headers()
        self.wfile.write((said if refused else f"{name} {asked.image_id}").encode())

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        pass


@pytest.fixture
def settings(tmp_path: Path, sqlite_url: str) -> Settings:
    return Settings(home=tmp_path / "home", catalog_url=sqlite_url, realtime_quota=0)


@pytest.fixture
def slots() -> Iterator[dict[str, _Slot]]:
    """A slot for each experiment that the test makes, by the experiment's id."""
    running: dict[str, _Slot] = {}
    yield running
    for slot in running.values():
        slot.shutdown()
        slot.server_close()


def _serve(parts: Parts, slots: dict[str, _Slot], api: Api, arch: str, folder: Path) -> Served:
    with parts.catalog.write() as session:
        session.get_one(Experiment, BASE_ID).arch = arch
    dataset = api.made("/datasets", client_url=str(folder))["id"]
    body = {"network_arch": arch, "base_experiment": [BASE_ID], "inference_dataset": dataset}
    experiment = api.made("/experiments", name=f"{arch} of {api.org}", **body)["id"]
    slot = slots[experiment] = _Slot(experiment)
    Thread(target=slot.serve_forever, daemon=True).start()
    with parts.catalog.write() as session:
        row = session.get_one(Experiment, experiment)
        row.realtime = True
        ready = Slot(org=row.org, experiment_id=row.id, state=SlotState.READY, token=f"token of {experiment}")
        ready.serving_seq, ready.endpoint = 1, f"http://127.0.0.1:{slot.server_port}"
        ready.lease_until = (session.scalar(select(now())) or 0) + 600
        session.add(ready)
    with parts.catalog.read() as session:
        images = {image.key: image.id for image in session.scalars(select(Image).where(Image.dataset_id == dataset))}
    return Served(api, arch, dataset, experiment, images)


def _ask(mine: Served, theirs: Served, kind: str, image: str) -> None:
    """Ask one thing and look at every word of the answer."""
    specs: dict[str, Any] = {"image": image}
    experiment, status = mine.experiment, 201
    if kind == "points":
        specs["bundle_params"], status = {"points": [[1, 1, 1]], "point_labels": [1]}, 400
    elif kind == "their data set":
        specs["dataset_id"], status = theirs.dataset, 404
    elif kind == "their experiment":
        experiment, status = theirs.experiment, 404
    elif kind == "no image":
        specs["image"], status = "p9/z", 404
    reply = mine.api.call("POST", f"/experiments/{experiment}/jobs", json={"action": "inference", "specs": specs})
    assert reply.status_code == status, reply.text
    if status == 201:
        (part,) = MultipartDecoder(reply.content, reply.headers["content-type"]).parts
        assert part.text == f"{mine.experiment} {mine.images[image]}"
        assert reply.headers[VERSION_HEADER] == mine.experiment
    assert not any(word in reply.text for word in (theirs.experiment, theirs.dataset))
    if kind == "points":
        assert reply.json()["error_desc"] == f"{mine.experiment} takes no points"


def test_requests_to_every_architecture_from_two_organisations_at_once_stay_apart(
    engineer: Api, stranger: Api, parts: Parts, folder: Path, slots: dict[str, _Slot]
) -> None:
    pairs = [
        (_serve(parts, slots, engineer, arch, folder), _serve(parts, slots, stranger, arch, folder))
        for arch in sorted(OFFERED)
    ]
    kinds = ("plain", "plain", "points", "their data set", "their experiment", "no image")
    order = Random(5)
    work = [
        (mine, theirs, order.choice(kinds), order.choice(IMAGES))
        for one, other in pairs
        for mine, theirs in ((one, other), (other, one))
        for _ in range(ASKED)
    ]
    order.shuffle(work)
    with ThreadPoolExecutor(CLIENTS) as pool:
        for done in [pool.submit(_ask, *each) for each in work]:
            done.result()

    for served in (each for pair in pairs for each in pair):
        asked = slots[served.experiment].asked
        assert {request.dataset_id for request in asked} <= {served.dataset}
        assert {request.image_id for request in asked} <= set(served.images.values())
        wanted = sum(mine is served and kind in {"plain", "points"} for mine, _, kind, _ in work)
        assert len(asked) == wanted
        listed = served.api.call("GET", "/experiments?user_only=true").json()
        assert {row["name"].rpartition(" ")[2] for row in listed} == {served.api.org}

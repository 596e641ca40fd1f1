"""Two API processes on one PostgreSQL: what one is told the other knows, and nothing happens twice."""

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from itertools import cycle
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import func, select

from configs.settings import Settings
from infra.adapters.catalog.session import Catalog
from infra.adapters.catalog.tables import Dataset, HookMessage, Outbox
from infra.adapters.catalog.tables.base import new_id
from infra.adapters.security.webhooks import signed
from infra.services import people
from infra.services.callers import Role
from infra.wiring import Parts
from tests.fixtures_installation import ROOT, client
from tests.integration.api.conftest import BASE_ID, ORG, _register_bundle, write_label
from tests.processes import end, free_port, listens, wait_until


@pytest.fixture
def two(postgresql_url: str, tmp_path: Path) -> Iterator[list[httpx.Client]]:
    """A client of each process, with an admin's key; both were started at once."""
    home = tmp_path / "home"
    home.mkdir()
    parts = Parts(Settings(home=home, catalog_url=postgresql_url))
    _register_bundle(parts)
    secret = people.create_key(parts, people.operator(ORG), name="admin", role=Role.ADMIN).secret
    parts.close()
    ports = [free_port(), free_port()]
    started = [_start(home, postgresql_url, port) for port in ports]
    try:
        wait_until(lambda: all(map(listens, ports)) or _any_ended(started), "both to listen")
        assert not _any_ended(started), f"one did not start: see {tmp_path}"
        opened = [client(f"http://127.0.0.1:{port}", secret) for port in ports]
        yield opened
        for each in opened:
            each.close()
    finally:
        for process in started:
            end(process)


def _any_ended(processes: "list[subprocess.Popen[bytes]]") -> bool:
    return any(process.poll() is not None for process in processes)


def _start(home: Path, catalog_url: str, port: int) -> "subprocess.Popen[bytes]":
    named = {"HOME": str(home), "CATALOG_URL": catalog_url, "PORT": str(port), "PREFECT_API_URL": "http://127.0.0.1:9"}
    named["BUNDLES_DIR"] = str(home / "none")  # one is noted already; looking at those shipped takes bundle hosts
    environment = {**os.environ, **{f"TEACHBACK_{name}": value for name, value in named.items()}}
    with (home.parent / f"{port}.log").open("wb") as log:
        command = [sys.executable, "-m", "infra.doors.api"]
        return subprocess.Popen(
            command, env=environment, cwd=ROOT, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True
        )


def test_two_processes_are_one_installation(two: list[httpx.Client], folder: Path, postgresql_url: str) -> None:
    first, second = two
    base = f"/api/v1/orgs/{ORG}"

    def made(api: httpx.Client, path: str, body: object, **headers: str) -> Any:
        reply = api.post(base + path, json=body, headers=headers)
        assert reply.status_code == 201, reply.text
        return reply.json()

    dataset = made(first, "/datasets", {"name": "set", "format": "monai", "client_url": str(folder)})["id"]
    assert second.get(f"{base}/datasets/{dataset}").json()["id"] == dataset
    uses = {"train_datasets": [dataset], "eval_dataset": dataset, "inference_dataset": dataset}
    wanted = {"name": "one", "network_arch": "monai_segmentation", "base_experiment": [BASE_ID], **uses}
    experiment = made(second, "/experiments", wanted)["id"]
    jobs = f"/experiments/{experiment}/jobs"

    # The same request at both, under one key: one loop, one answer.
    asked = {"action": "annotation", "specs": {"round_size": 3, "stop_criteria": {"max_rounds": 2}}}
    with ThreadPoolExecutor(2) as pool:
        [loop] = set(pool.map(lambda api: made(api, jobs, asked, **{"Idempotency-Key": "k"}), two))

    def notify(api: httpx.Client, name: str) -> None:
        entry = {"image": name, "label": f"labels/{name}.nii.gz"}
        made(api, f"/datasets/{dataset}/jobs", {"action": "notify", "specs": {"added": entry}})

    names = ("p1/a", "p1/b", "p2/a", "p2/b")
    for name in names:
        write_label(folder / "labels" / f"{name}.nii.gz")
    for api, name in zip(cycle(two), names[:2], strict=False):
        notify(api, name)
    with ThreadPoolExecutor(2) as pool:  # each would make it due alone; both say the same label twice
        list(pool.map(notify, [*two, *two], [names[2], names[3], names[3], names[2]]))
    for api in two:
        listed = api.get(base + jobs).json()
        assert sorted((job["action"], job["parent_id"]) for job in listed) == [("annotation", None), ("train", loop)]

    login = first.post("/api/v1/login", json={"ngc_api_key": first.headers["Authorization"].removeprefix("Bearer ")})
    token = {"Authorization": f"Bearer {login.json()['token']}"}
    assert second.get(f"{base}/datasets/{dataset}", headers=token).status_code == 200

    _a_cookie_of_one_is_good_at_the_other_until_the_logout_at_either(two, f"/jobs/{loop}")
    _a_message_that_comes_to_both_at_once_is_taken_in_once(two, Catalog(postgresql_url))


def _a_cookie_of_one_is_good_at_the_other_until_the_logout_at_either(two: list[httpx.Client], page: str) -> None:
    key = two[0].headers["Authorization"].removeprefix("Bearer ")
    first, second = (httpx.Client(base_url=api.base_url, timeout=60, trust_env=False) for api in two)
    with first, second:
        assert first.post("/login", data={"key": key}).status_code == 303
        cookie = dict(first.cookies)
        second.cookies.update(cookie)
        assert second.get(page).status_code == 200
        assert second.post("/logout").status_code == 303
        first.cookies.update(cookie)
        assert first.get(page).status_code == 401


def _a_message_that_comes_to_both_at_once_is_taken_in_once(two: list[httpx.Client], catalog: Catalog) -> None:
    with catalog.write() as session:
        pacs = Dataset(id=new_id(), org=ORG, name="pacs", spec={"kind": "dicomweb", "url": "http://127.0.0.1:9/"})
        session.add(pacs)
    hook = two[0].post("/api/teachback/v1/hooks", json={"dataset": pacs.id}).json()
    body = b'{"data": {"series": "1.2.3"}}'
    headers = {**signed([hook["secret"]], "one", body, datetime.now(UTC)), "Prefer": "respond-async"}

    def tell(api: httpx.Client) -> tuple[int, str]:
        reply = api.post(hook["path"], content=body, headers=headers)
        return reply.status_code, reply.json()["reason"]

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(tell, two * 4))
    assert {status for status, _ in answers} == {202}
    assert [tell(api) for api in two] == [(202, "this message came before")] * 2
    with catalog.read() as session:
        assert session.scalar(select(func.count()).where(Outbox.kind == "arrival")) == 1
        assert session.scalar(select(func.count()).select_from(HookMessage)) == 1
    catalog.close()

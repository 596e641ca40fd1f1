"""An installation at work, backed up by the command and restored elsewhere: it serves, and its round goes on."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any

import httpx
import pytest

from configs.wire.slot import VERSION_HEADER
from infra.adapters.catalog.session import Catalog
from tests.crash.ward import CASES, NATIVE, Ward, answer, outlives_both_servers, save_label
from tests.fixtures_catalog import new_database
from tests.fixtures_installation import ROOT, SHORT, client, running_installation
from tests.processes import wait_until

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Moved:
    """What there was when a backup was begun, and the installation that was made of it.

    Attributes:
        ward: The new one.
        first: A round that had ended.
        job: A round that was training.
        acknowledged: Labels.
        published: The version that was served.
        key: The old one's.
    """

    ward: Ward
    first: dict[str, Any]
    job: str
    acknowledged: set[str]
    published: str
    key: str


@pytest.fixture(scope="module")
def moved(
    _made_ward: Ward, postgres_url: str, postgresql_template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Moved]:
    """An installation on PostgreSQL, restored from the backup of one on SQLite."""
    ward, folder = _made_ward, tmp_path_factory.mktemp("moved")
    home, backups = folder / "elsewhere", folder / "backups"
    first = ward.wait_for_end(ward.start_round())
    assert first["status"] == "Done", first
    job = ward.start_round()
    ward.wait_for_training(job)
    acknowledged, published = _labels(ward.client, ward.dataset), ward.models()["published_version"]

    _back_up_while_people_save(ward, backups)
    ward.wait_for_end(job)
    with new_database(postgres_url, postgresql_template) as url:
        settings = {**SHORT, "TEACHBACK_CATALOG_URL": url}
        _teachback("restore", str(backups), "--home", str(home), settings=settings)
        with (
            running_installation(home, settings) as there,
            there.client() as asking,
            closing(Catalog(url)) as catalog,
        ):
            restored = Ward(there, asking, catalog, ward.truth, ward.dataset, ward.experiment, ward.numbers)
            yield Moved(restored, first, job, acknowledged, published, ward.installation.key)


def test_what_was_acknowledged_and_published_is_there_elsewhere_and_the_round_ends(moved: Moved) -> None:
    ward = moved.ward
    found = _labels(ward.client, ward.dataset)
    assert moved.acknowledged <= found
    for label in found:
        assert ward.client.get(f"{NATIVE}/labels/{label}/file").status_code == 200
    with client(ward.installation.address, moved.key) as before:
        assert before.get(f"{NATIVE}/status").status_code == 200, "keys from before go on working"
    assert ward.round(moved.first["job_id"]) == moved.first
    _is_served(ward, moved.published)
    assert ward.wait_for_end(moved.job)["status"] == "Done"


def test_on_postgresql_a_round_outlives_both_servers(moved: Moved) -> None:
    outlives_both_servers(moved.ward)


def _back_up_while_people_save(ward: Ward, place: Path) -> None:
    stop = Event()

    def annotate(number: int) -> int:
        saved = 0
        with ward.installation.client() as client:
            while not stop.is_set():
                assert save_label(client, ward.dataset, ward.truth, number).status_code == 200
                saved += 1
        return saved

    with ThreadPoolExecutor(2) as pool:
        people = [pool.submit(annotate, number) for number in (CASES - 1, CASES)]
        try:
            _teachback("backup", str(place), "--home", str(ward.installation.home))
        finally:
            stop.set()
        assert all(person.result() for person in people)


def _teachback(*words: str, settings: Mapping[str, str] | None = None) -> None:
    done = subprocess.run(
        [Path(sys.executable).parent / "teachback", *words],
        env={**os.environ, **(settings or {})},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def _labels(client: httpx.Client, dataset: str) -> set[str]:
    found = answer(client.get(f"{NATIVE}/datasets/{dataset}/labels"), 200)["labels"]
    return {label["id"] for label in found}


def _is_served(ward: Ward, published: str) -> None:
    """Ask until the slot is up: it has to serve the version that was published when the backup was begun."""
    answers: list[httpx.Response] = []

    def served() -> bool:
        answers.append(ward.infer())
        return answers[-1].is_success

    wait_until(served, "the restored model to be served")
    # The round that goes on there may have published another one by now.
    assert answers[-1].headers[VERSION_HEADER] in {published, ward.models()["published_version"]}

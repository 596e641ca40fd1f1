"""An installation at work, backed up by the command and restored elsewhere: it serves, and its round goes on."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import httpx
import pytest

from configs.wire.slot import VERSION_HEADER
from tests.crash.ward import CASES, NATIVE, Ward, answer, save_label
from tests.fixtures_installation import ROOT, running_installation
from tests.processes import wait_until


@pytest.mark.slow
def test_what_was_acknowledged_and_published_is_there_elsewhere_and_the_round_ends(ward: Ward, tmp_path: Path) -> None:
    first = ward.wait_for_end(ward.start_round())
    assert first["status"] == "Done", first
    job = ward.start_round()
    ward.wait_for_training(job)
    acknowledged = _labels(ward.client, ward.dataset)
    published = ward.models()["published_version"]

    _back_up_while_people_save(ward, tmp_path / "backups")
    ward.wait_for_end(job)
    home = tmp_path / "elsewhere"
    _teachback("restore", str(tmp_path / "backups"), "--home", str(home))

    with running_installation(home) as there, there.client() as client:
        found = _labels(client, ward.dataset)
        assert acknowledged <= found
        for label in found:
            assert client.get(f"{NATIVE}/labels/{label}/file").status_code == 200
        with httpx.Client(base_url=there.address, headers=ward.client.headers, trust_env=False) as before:
            assert before.get(f"{NATIVE}/status").status_code == 200, "keys from before go on working"
        restored = Ward(there, client, there.catalog(), ward.truth, ward.dataset, ward.experiment)
        assert restored.round(first["job_id"]) == first
        _is_served(restored, published)
        assert restored.wait_for_end(job)["status"] == "Done"
        restored.catalog.close()


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


def _teachback(*words: str) -> None:
    done = subprocess.run(
        [Path(sys.executable).parent / "teachback", *words], cwd=ROOT, capture_output=True, text=True, check=False
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

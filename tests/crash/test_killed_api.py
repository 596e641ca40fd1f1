"""kill -9 of the API between a label's commit and the reply: nothing acknowledged or committed is lost or doubled."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tasks.images.sample.write import write_cases
from tests.crash.ward import CLOUD, NATIVE, answer, make_dataset, make_experiment, save_label
from tests.fixtures_installation import ROOT, Installation, client
from tests.processes import end, free_port, listens, wait_until

API = ("-m", "infra.doors.api")


@pytest.mark.slow
def test_a_label_outlives_the_api_that_is_killed_before_its_reply_and_saved_again_counts_nothing_more(
    installation: Installation, tmp_path: Path
) -> None:
    write_cases(tmp_path / "images", tmp_path / "truth", count=2, seed=3, spacing_mm=6)
    with installation.client() as living:
        dataset = make_dataset(living, tmp_path / "images")
        experiment = make_experiment(living, dataset, dataset, realtime=False)
        body = {"action": "annotation", "specs": {"round_size": 2}}
        loop = answer(living.post(f"{CLOUD}/experiments/{experiment}/jobs", json=body), 201)

        with _dying_api(installation) as (process, address), client(address, installation.key) as dying:
            with pytest.raises(httpx.TransportError):
                save_label(dying, dataset, tmp_path / "truth", 1)
            assert process.wait(30) == -signal.SIGKILL

        assert _loop(living, loop)["pending"] == 1
        labels = _labels(living)
        answer(save_label(living, dataset, tmp_path / "truth", 1), 200)
        assert _loop(living, loop)["pending"] == 1
        assert _labels(living) == labels
        answer(living.post(f"{CLOUD}/experiments/{experiment}/jobs/{loop}:cancel"), 200)


@contextmanager
def _dying_api(installation: Installation) -> Iterator[tuple["subprocess.Popen[bytes]", str]]:
    """Run another API on the same home, which kills itself when a label is committed and not yet acknowledged."""
    port = free_port()
    ours = {"TEACHBACK_PORT": str(port), "TEACHBACK_FAILPOINT": "label-committed"}
    with (installation.home / "logs" / "dying-api.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, *API],
            env={**installation.environment(*API), **ours},
            cwd=ROOT,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        wait_until(lambda: process.poll() is not None or listens(port), "the API to listen")
        yield process, f"http://127.0.0.1:{port}"
    finally:
        end(process)


def _loop(client: httpx.Client, job: str) -> dict[str, Any]:
    loops = answer(client.get(f"{NATIVE}/status"), 200)["loops"]
    return next(loop for loop in loops if loop["job_id"] == job)


def _labels(client: httpx.Client) -> int:
    return int(answer(client.get(f"{NATIVE}/status"), 200)["counts"]["labels"])

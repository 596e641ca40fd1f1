"""A home with many images, its API processes, and what annotators were answered."""

import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from configs.settings import Settings
from infra.services import people
from infra.services.callers import Role
from infra.wiring import Parts
from tasks.images.sync import sync_dataset
from tests.fixtures_installation import ROOT, client
from tests.integration.api.conftest import AFFINE, BASE_ID, ORG, _register_bundle
from tests.processes import free_port, listens, wait_until

Shape = tuple[int, int, int]
CLOUD = f"/api/v1/orgs/{ORG}"
_NOBODY = "http://127.0.0.1:9"


class Place:
    """A home, its data set and its loop; `api()` starts processes on it.

    Args:
        folder: Empty; holds everything.
        catalog_url: A migrated, empty catalog; default SQLite in the home.
    """

    def __init__(self, folder: Path, catalog_url: str = "") -> None:
        self.home = folder / "home"
        self.images = folder / "images"
        self.temporary = folder / "tmp"
        for each in (self.home, self.images, self.temporary):
            each.mkdir(parents=True)
        self.settings = Settings(home=self.home, catalog_url=catalog_url, warm_host="off")
        self._forker = subprocess.Popen(
            [sys.executable, "-m", "tests.soak.forker"],
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        parts = self.parts()
        parts.catalog.migrate()
        _register_bundle(parts)
        self.key = people.create_key(parts, people.operator(ORG), name="soak", role=Role.ADMIN).secret
        parts.close()
        self.dataset = self.experiment = self.loop = ""

    def close(self) -> None:
        """End what starts processes."""
        assert self._forker.stdin is not None
        self._forker.stdin.close()
        self._forker.wait(30)

    def parts(self) -> Parts:
        """Open the adapters, to look at what no route shows."""
        return Parts(self.settings)

    def client(self, address: str) -> httpx.Client:
        """Return a client with an admin's key."""
        return client(address, self.key)

    def start_api(self, **settings: str) -> "Api":
        """Start an API process and return it at once; it may not listen yet."""
        port = free_port()
        ours = {
            "HOME": str(self.home),
            "CATALOG_URL": self.settings.catalog_url,
            "PORT": str(port),
            "PREFECT_API_URL": _NOBODY,
            "BUNDLES_DIR": str(self.home / "none"),  # looking at those shipped takes bundle hosts
            "WARM_HOST": "off",
            "TESTING": "1",
            **settings,
        }
        environment = {f"TEACHBACK_{name}": value for name, value in ours.items()}
        environment["TMPDIR"] = str(self.temporary)
        asked = {"environment": environment, "log": str(self.home.parent / "api.log")}
        assert self._forker.stdin is not None
        assert self._forker.stdout is not None
        self._forker.stdin.write(f"{json.dumps(asked)}\n")
        self._forker.stdin.flush()
        return Api(int(self._forker.stdout.readline()), port)

    @contextmanager
    def api(self, **settings: str) -> Iterator["Api"]:
        """Run an API process until the block ends."""
        started = self.start_api(**settings)
        try:
            started.wait()
            yield started
        finally:
            started.kill()

    def fill(self, count: int, shape: Shape) -> None:
        """Register *count* images of this shape and start a loop that never becomes due."""
        first = self.images / "p000" / "i00000.nii"
        first.parent.mkdir()
        write_mask(first, shape, 0)
        for number in range(1, count):
            place = self.images / image_key(number)
            place.parent.mkdir(exist_ok=True)
            os.link(first, place.with_suffix(".nii"))
        with self.api() as running, self.client(running.address) as http:
            made = {"name": "many", "format": "monai", "client_url": str(self.images)}
            self.dataset = _made(http, "/datasets", made)
            parts = self.parts()
            sync_dataset(parts, self.dataset)  # one request lists for twenty seconds at most
            parts.close()
            uses = {"train_datasets": [self.dataset], "eval_dataset": self.dataset, "inference_dataset": self.dataset}
            asked = {"name": "one", "network_arch": "monai_segmentation", "base_experiment": [BASE_ID], **uses}
            self.experiment = _made(http, "/experiments", asked)
            body = {"action": "annotation", "specs": {"round_size": 10**5}}
            self.loop = _made(http, f"/experiments/{self.experiment}/jobs", body)


class Api:
    """A running API process, a child of the forker."""

    def __init__(self, pid: int, port: int) -> None:
        self.pid = pid
        self.port = port
        self.address = f"http://127.0.0.1:{port}"

    def wait(self) -> None:
        """Wait until it listens."""
        wait_until(lambda: listens(self.port) or not self.alive(), "the API to listen", within_s=300, step_s=0.05)
        assert self.alive(), "the API did not start: see api.log"

    def alive(self) -> bool:
        """Say whether it runs."""
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        return True

    def kill(self) -> None:
        """Kill it at once, and wait until it is gone; nothing if it is gone already."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        wait_until(lambda: not self.alive(), "the API to be gone", step_s=0.02)


def image_key(number: int) -> str:
    """Return the id of an image; a hundred of a patient."""
    return f"p{number // 100:03}/i{number:05}"


def write_mask(path: Path, shape: Shape, seed: int) -> str:
    """Write a mask that no other seed has, uncompressed; return its sha256."""
    array: NDArray[np.uint8] = np.zeros(shape, dtype=np.uint8)
    array[1:-1, 1:-1, 1:-1] = 1 + seed % 2
    array.reshape(-1)[:32] = [int(digit) for digit in f"{seed:032b}"]
    nib.save(nib.Nifti1Image(array, AFFINE), path)
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _made(http: httpx.Client, path: str, body: Any) -> str:
    reply = http.post(CLOUD + path, json=body, timeout=900)
    assert reply.status_code == 201, reply.text
    return str(reply.json()["id"] if isinstance(reply.json(), dict) else reply.json())

"""What happens on a full disk, tried where one is: `python -m tests.crash.full_disk CASE SMALL ELSEWHERE`.

SMALL is a file system of a few MiB of this process's own. It ends with status 0 if all is as it should be.
"""

import os
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
from fastapi.testclient import TestClient
from httpx import Response

from configs.settings import Settings
from infra.doors.api.app import create_app
from infra.services import people
from infra.services.callers import Role
from infra.wiring import Parts
from tasks.delivery.dispatch import LABELS, deliver_due
from tests.integration.api.conftest import AFFINE, BASE_URL, ORG, Api, _register_bundle, make_experiment
from tests.runs_in_memory import RunsInMemory
from tests.soak.ledger import Ledger, check
from tests.soak.place import image_key, write_mask

SHAPE = (64, 64, 64)
IMAGES = 40


class Clinic:
    """An API, its data set and its loop, one of whose folders is on the small disk."""

    def __init__(self, small: Path, elsewhere: Path, on_small: str) -> None:
        place = {name: (small if name == on_small else elsewhere) / name for name in ("home", "artifacts", "cache")}
        self.small, self.folder = small, elsewhere
        self.filler = small / "filler"
        for each in place.values():
            each.mkdir(parents=True)
        settings = Settings(home=place["home"], artifacts=place["artifacts"], cache=place["cache"], warm_host="off")
        self.parts = Parts(settings, orchestrator=RunsInMemory())
        self.parts.catalog.migrate()
        _register_bundle(self.parts)
        key = people.create_key(self.parts, people.operator(ORG), name="eve", role=Role.ENGINEER)
        app = create_app(self.parts, run_loops=False)
        client = TestClient(app, base_url=BASE_URL, raise_server_exceptions=False)
        self.api = Api(client, ORG, key.secret)
        self._write_images()
        made = {"name": "set", "format": "monai", "client_url": str(self.folder / "images")}
        self.dataset = str(self.api.made("/datasets", **made)["id"])
        experiment = make_experiment(self.api, self.dataset)["id"]
        loop = {"action": "annotation", "specs": {"round_size": 1000}}
        self.api.made(f"/experiments/{experiment}/jobs", **loop)
        self.ledger = Ledger()

    def _write_images(self) -> None:
        first = self.folder / "images" / f"{image_key(0)}.nii.gz"
        first.parent.mkdir(parents=True)
        noise = np.random.default_rng(0).integers(0, 256, SHAPE, dtype=np.uint8)
        nib.save(nib.Nifti1Image(noise, AFFINE), first)
        for number in range(1, IMAGES):
            os.link(first, self.folder / "images" / f"{image_key(number)}.nii.gz")

    def save(self, number: int) -> Response:
        """Save a label of an image; what is acknowledged is noted."""
        path = self.folder / "label.nii"
        sha256 = write_mask(path, SHAPE, number)
        image = image_key(number)
        with path.open("rb") as file:
            reply = self.api.at(
                "PUT",
                f"/label/{self.dataset}/datastore/label",
                params={"image": image},
                files={"label": ("label.nii", file)},
            )
        if reply.status_code == 200:
            self.ledger.note(reply.json()["label"], image, sha256, again=False)
        return reply

    def fill(self, left_bytes: int = 40_000) -> None:
        """Leave a little room on the small disk."""
        found = os.statvfs(self.small)
        self.filler.write_bytes(bytes(max(found.f_bavail * found.f_frsize - left_bytes, 0)))

    def all_is_well(self) -> None:
        """Whatever was acknowledged is there once, and nothing half-written lies about."""
        found = check(self.parts, self.dataset, self.ledger)
        assert found.nothing, str(found)
        assert not list(self.parts.settings.artifacts_dir.rglob("tmp-*"))


def blobs(small: Path, elsewhere: Path) -> None:
    """No room for a label's bytes: refused, saying so; with room it is kept as if nothing had been."""
    clinic = Clinic(small, elsewhere, "artifacts")
    assert clinic.save(0).status_code == 200
    clinic.fill()
    refused = clinic.save(1)
    assert refused.status_code == 507, refused.text
    assert "disk is full" in refused.json()["detail"]
    clinic.all_is_well()
    clinic.filler.unlink()
    assert clinic.save(1).status_code == 200
    clinic.all_is_well()


def catalog(small: Path, elsewhere: Path) -> None:
    """No room for a row: refused, and what was acknowledged stays; with room all goes on, nothing is damaged."""
    clinic = Clinic(small, elsewhere, "home")
    assert clinic.save(0).status_code == 200
    clinic.fill(left_bytes=400_000)
    statuses = [clinic.save(number).status_code for number in range(1, 12)]
    assert set(statuses) == {200, 507}, statuses
    assert clinic.save(0).status_code in {200, 507}
    clinic.filler.unlink()
    assert [clinic.save(number).status_code for number in range(1, 12)] == [200] * 11
    clinic.all_is_well()


def cache(small: Path, elsewhere: Path) -> None:
    """No room for an image's copy: others give way; without any the label is kept, and counted when there is room."""
    clinic = Clinic(small, elsewhere, "cache")
    replies = [clinic.save(number) for number in range(IMAGES - 1)]
    assert {reply.status_code for reply in replies} == {200}
    assert not any(reply.json().get("warnings") for reply in replies), "least recently used copies gave way"
    for path in (small / "cache").glob("raw/*/*"):
        for file in path.iterdir():
            file.unlink()
        path.rmdir()
    clinic.fill()
    late = clinic.save(IMAGES - 1)
    assert late.status_code == 200, late.text
    assert "compared with it" in str(late.json()["warnings"])
    clinic.filler.unlink()
    assert deliver_due(clinic.parts, LABELS) >= 1
    clinic.all_is_well()


CASES = {"blobs": blobs, "catalog": catalog, "cache": cache}

if __name__ == "__main__":
    CASES[sys.argv[1]](Path(sys.argv[2]), Path(sys.argv[3]))

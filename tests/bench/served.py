"""An API and a realtime slot as processes of their own, without Prefect and MLflow."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import count, product
from pathlib import Path
from typing import IO

import httpx
from sqlalchemy import delete, select

from configs.settings import Settings
from configs.states import SlotState
from infra.adapters.catalog.tables import (
    Bundle,
    Dataset,
    Experiment,
    ExperimentDataset,
    Image,
    ModelVersion,
    Organisation,
    Outbox,
    Slot,
)
from infra.services import people
from infra.services.callers import Role
from infra.wiring import Parts, open_parts
from tasks.compute.inference.arrangement import Arrangement
from tasks.images.sync import sync_dataset
from tasks.publishing.publish import publish_by_person
from tasks.serving.slots import want
from tests.bench import unet
from tests.processes import end, free_port, wait_until

ROOT = Path(__file__).resolve().parents[2]
ORG, BUNDLE = "clinic", "b" * 64
_CALL_S = 120.0


@dataclass(frozen=True)
class Served:
    """A running installation of two processes, and the slot's bundle host.

    Attributes:
        parts: This process's adapters of the same home.
        address: Of the API, `http://127.0.0.1:port`.
        key: An annotator's.
        dataset, experiment: Ids.
        bundle: Its folder.
        images: The data set's folder.
        ids: The catalog's number of each image.
        log: The slot's log, a JSON object per line.
    """

    parts: Parts
    address: str
    key: str = field(repr=False)
    dataset: str
    experiment: str
    bundle: Path
    images: Path
    ids: dict[str, int]
    log: Path
    _fresh: Iterator[int] = field(default_factory=count, repr=False)

    def client(self) -> httpx.Client:
        """Return an annotator's client; paths are below the organisation."""
        return httpx.Client(
            base_url=f"{self.address}/api/v1/orgs/{ORG}",
            headers={"Authorization": f"Bearer {self.key}"},
            timeout=_CALL_S,
            trust_env=False,
        )

    def unseen(self) -> str:
        """Return the id of an image that was predicted for nobody, ahead neither."""
        seen = {line["image"] for line in self.predicted()}
        return next(name for name in map(image_name, self._fresh) if self.ids[name] not in seen)

    def infer(self, client: httpx.Client, image: str) -> bytes:
        """Have an image segmented; returns the NRRD file."""
        body = {"action": "inference", "specs": {"image": image}}
        reply = client.post(f"/experiments/{self.experiment}/jobs", json=body)
        reply.raise_for_status()
        return reply.content.split(b"\r\n\r\n", 1)[1]

    def next_image(self, client: httpx.Client) -> str:
        """Have an image handed out; it and the two after it are predicted ahead."""
        body = {"action": "nextimage", "specs": {"experiment": self.experiment}}
        reply = client.post(f"/datasets/{self.dataset}/jobs", json=body)
        reply.raise_for_status()
        return str(reply.json()["image"])

    def predicted(self) -> list[dict[str, object]]:
        """Return what the slot logged of its predictions, oldest first."""
        return self._logged("predicted")

    def arrangement(self) -> Arrangement:
        """Return how the slot's host runs the network, as it chose for itself."""
        said = self._logged("loaded")[-1]["arrangement"]
        choices = (Arrangement(*chosen) for chosen in product([False, True], repeat=3))
        return next(each for each in choices if str(each) == said)

    def _logged(self, event: str) -> list[dict[str, object]]:
        if not self.log.exists():
            return []
        lines = [json.loads(line) for line in self.log.read_text().splitlines()]
        return [line for line in lines if line.get("event") == event]


def image_name(number: int) -> str:
    """Return the id of the n-th image."""
    return f"case-{number:03}"


@contextmanager
def serving(folder: Path, images: int) -> Iterator[Served]:
    """Serve the bench's network to annotators of a data set with so many images, until the block ends."""
    pictures = folder / "images"
    pictures.mkdir()
    for number in range(images):
        unet.write_image(pictures / f"{image_name(number)}.nii.gz", number)
    settings = Settings(home=folder / "home", port=free_port(), warm_host="off", reconcile_s=3600)
    with ExitStack() as stack:
        parts = open_parts(settings)
        stack.callback(parts.close)
        dataset, experiment = _fill(parts, pictures)
        made = people.create_key(parts, people.operator(ORG), name="the bench", role=Role.ANNOTATOR)
        with parts.catalog.write() as session:
            slot = want(session, session.get_one(Experiment, experiment), 0).id
            session.execute(delete(Outbox))  # no Prefect is to start it
        said = stack.enter_context((folder / "processes.log").open("wb"))
        processes = [
            _start(stack, parts, said, "infra.doors.realtime", "--slot", slot),
            _start(stack, parts, said, "infra.doors.api"),
        ]
        served = Served(
            parts=parts,
            address=f"http://127.0.0.1:{settings.port}",
            key=made.secret,
            dataset=dataset,
            experiment=experiment,
            bundle=settings.home / "bundles" / BUNDLE,
            images=pictures,
            ids=_ids(parts, dataset),
            log=settings.home / "logs" / f"slot-{slot}.jsonl",
        )
        wait_until(lambda: _has_ended(processes) or _up(served, slot), "the API and the slot", within_s=750)
        if _has_ended(processes):
            raise ValueError(f"The API or the slot ended at once: {(folder / 'processes.log').read_text()[-300:]}")
        yield served


def _fill(parts: Parts, images: Path) -> tuple[str, str]:
    """Make the data set, and an experiment that has published the trained network; return their ids."""
    parts.catalog.migrate()
    unet.write_bundle(parts.settings.home / "bundles" / BUNDLE)
    weights = parts.blobs.put_file(unet.save_weights(unet.trained(), images.parent / "weights.safetensors"))
    with parts.catalog.write() as session:
        session.add(Organisation(id=ORG))
        session.flush()
        dataset = Dataset(org=ORG, name="cases", spec={"kind": "folder", "url": str(images)})
        bundle = Bundle(id=BUNDLE, name="bench", version="0.1.0", tier="C", labels=unet.LABELS, check={})
        session.add_all([dataset, bundle])
        session.flush()
        experiment = Experiment(
            org=ORG, name="blobs", arch="bench", bundle_id=BUNDLE, labels=unet.LABELS, lineage="l", realtime=True
        )
        session.add(experiment)
        session.flush()
        version = ModelVersion(experiment_id=experiment.id, number=1, bundle_id=BUNDLE, weights=weights)
        session.add_all(
            [version, ExperimentDataset(experiment_id=experiment.id, dataset_id=dataset.id, use="inference")]
        )
        session.flush()
        publish_by_person(session, experiment.id, version.id, expected=None, actor="bench", reason="bench")
    sync_dataset(parts, dataset.id)
    return dataset.id, experiment.id


def _ids(parts: Parts, dataset: str) -> dict[str, int]:
    with parts.catalog.read() as session:
        return dict(session.execute(select(Image.key, Image.id).where(Image.dataset_id == dataset)).tuples().all())


def _start(stack: ExitStack, parts: Parts, said: IO[bytes], module: str, *arguments: str) -> "subprocess.Popen[bytes]":
    process = subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        env=parts.settings.child_environment(),
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=said,
        stderr=said,
        start_new_session=True,
    )
    stack.callback(end, process)
    return process


def _has_ended(processes: "list[subprocess.Popen[bytes]]") -> bool:
    return any(process.poll() is not None for process in processes)


def _up(served: Served, slot: str) -> bool:
    with served.parts.catalog.read() as session:
        if session.get_one(Slot, slot).state != SlotState.READY:
            return False
    try:
        with served.client() as client:
            return client.get("/experiments").is_success
    except httpx.TransportError:
        return False

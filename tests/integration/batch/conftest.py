"""A folder of three images, hosts in memory that predict ones, and one attempt at a batch."""

from collections.abc import Callable, Iterator
from pathlib import Path
from queue import SimpleQueue

import nibabel as nib
import numpy as np
import pytest

from configs.errors import HostDiedError
from configs.specs.batch import BatchResult, BatchSpec
from configs.wire.host import Failed, HostCommand, HostMessage, HostRequest, Load, Loaded, Predict, Prediction, Ready
from infra.adapters.catalog.tables import Dataset, Experiment
from infra.wiring import Parts
from tasks.batch.predict import finish_batch, predict_batch
from tasks.batch.start import start_batch
from tasks.images.sync import sync_dataset
from tasks.rounds.steps import work
from tests.builders import BUNDLE, World, build
from tests.hosts_in_memory import HostInMemory, HostsInMemory

NAMES = ("p1/a", "p1/b", "p2/c")
SHAPE = (3, 4, 5)


class ServingHosts(HostsInMemory):
    """Starts hosts that answer each prediction with ones; *dies_at* ends a host at that prediction.

    With *says*, it answers each one with this JSON; *before* is called first.
    """

    def __init__(self, folder: Path, *, dies_at: int | None = None, unreadable: int | None = None) -> None:
        self.folder, self.dies_at, self.unreadable = folder, dies_at, unreadable
        self.predicted = 0
        self.says = ""
        self.before: Callable[[], object] = lambda: None

    def host(self, request: HostRequest, work: Path) -> "ServingHost":
        """Start one."""
        del request
        (work / "in").mkdir(parents=True)
        return ServingHost(self)


class ServingHost(HostInMemory):
    """One of them."""

    def __init__(self, hosts: ServingHosts) -> None:
        self._hosts = hosts
        self._said: SimpleQueue[HostMessage] = SimpleQueue()
        self._said.put(Ready())

    def messages(self) -> Iterator[HostMessage]:
        while not self._said.empty():
            yield self._said.get()
        raise HostDiedError("The bundle host has ended")

    def send(self, command: HostCommand) -> None:
        if isinstance(command, Load):
            self._said.put(Loaded(version=command.version))
        if not isinstance(command, Predict):
            return
        self._hosts.predicted += 1
        self._hosts.before()
        if self._hosts.predicted == self._hosts.dies_at:
            return
        if self._hosts.predicted == self._hosts.unreadable:
            self._said.put(Failed(id=command.id, code="unreadable", message="The image cannot be read"))
            return
        if self._hosts.says:
            path = self._hosts.folder / f"{command.name}.json"
            path.write_text(self._hosts.says)
            self._said.put(Prediction(id=command.id, version=command.version, path=str(path), seconds=0.1))
            return
        path = self._hosts.folder / command.name
        image = nib.load(command.image[0])
        nib.save(nib.Nifti1Image(np.ones(image.shape, dtype=np.uint8), image.affine), path)
        self._said.put(Prediction(id=command.id, version=command.version, path=str(path), seconds=0.1))

    def kill(self) -> None:
        return


@pytest.fixture
def world(parts: Parts, tmp_path: Path) -> World:
    """Three images of two patients in a folder, and a version without weights of its own."""
    folder = tmp_path / "images"
    for name in NAMES:
        path = folder / f"{name}.nii.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        nib.save(nib.Nifti1Image(np.zeros(SHAPE, dtype=np.float32), np.diag([-1.0, -1, 1, 1])), path)
    bundle = parts.settings.home / "bundles" / BUNDLE / "configs"
    bundle.mkdir(parents=True)
    (bundle / "metadata.json").write_text("{}")
    made = build(parts.catalog, images=0)
    with parts.catalog.write() as session:
        session.get_one(Dataset, made.dataset).spec = {"kind": "folder", "url": str(folder)}
    sync_dataset(parts, made.dataset)
    return made


@pytest.fixture
def hosts(parts: Parts, tmp_path: Path) -> ServingHosts:
    (tmp_path / "out").mkdir()
    return ServingHosts(tmp_path / "out").put_into(parts)


def ask(parts: Parts, world: World, spec: BatchSpec | None = None) -> str:
    with parts.catalog.write() as session:
        experiment = session.get_one(Experiment, world.experiment)
        return start_batch(session, experiment, spec or BatchSpec(), actor="ann").id


def attempt(parts: Parts, job_id: str, n: int = 1) -> BatchResult:
    held = work.claim(parts, job_id, n)
    assert held is not None
    with work.Lease(parts, held) as lease:
        result = predict_batch(parts, held, lease)
    finish_batch(parts, held, result)
    return result


def attempt_after_a_loss(parts: Parts, job_id: str, hosts: ServingHosts) -> BatchResult:
    """Lose the first attempt at its second image, and go on with the same claim."""
    held = work.claim(parts, job_id, 1)
    assert held is not None
    hosts.dies_at = 2
    with work.Lease(parts, held) as lease, pytest.raises(HostDiedError):
        predict_batch(parts, held, lease)
    hosts.dies_at = None
    with work.Lease(parts, held) as lease:
        result = predict_batch(parts, held, lease)
    assert hosts.predicted == len(NAMES) + 1, "one, one that was lost, and the two that were left"
    return result

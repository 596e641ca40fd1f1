"""A batch of predictions: written whole, gone on with after a loss, and no label to learn from."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from queue import SimpleQueue
from uuid import uuid4

import nibabel as nib
import numpy as np
import pytest
from pydicom import dcmread
from sqlalchemy import select

from configs.errors import HostDiedError, NotFoundError
from configs.specs.batch import BatchResult, BatchSpec
from configs.specs.dataset import DatasetSpec
from configs.states import JobStatus
from configs.wire.host import Failed, HostCommand, HostMessage, HostRequest, Load, Loaded, Predict, Prediction, Ready
from infra.adapters.catalog.tables import Dataset, Experiment, Image, Label
from infra.wiring import Parts
from tasks.batch.predict import finish_batch, predict_batch
from tasks.batch.start import start_batch
from tasks.delivery.dispatch import deliver_due
from tasks.images.geometry import Geometry
from tasks.images.stores import store_of
from tasks.images.sync import sync_dataset
from tasks.labels.imports import import_labels
from tasks.labels.read import read_label
from tasks.rounds import work
from tests.builders import BUNDLE, World, build, job
from tests.dicom_series import asymmetric, make_series, oblique_affine
from tests.fixtures_orthanc import Orthanc
from tests.hosts_in_memory import HostInMemory, HostsInMemory
from tests.runs_in_memory import RunsInMemory

NAMES = ("p1/a", "p1/b", "p2/c")
SHAPE = (3, 4, 5)


class ServingHosts(HostsInMemory):
    """Starts hosts that answer each prediction with ones; *dies_at* ends a host at that prediction."""

    def __init__(self, folder: Path, *, dies_at: int | None = None, unreadable: int | None = None) -> None:
        self.folder, self.dies_at, self.unreadable = folder, dies_at, unreadable
        self.predicted = 0

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
        if self._hosts.predicted == self._hosts.dies_at:
            return
        if self._hosts.predicted == self._hosts.unreadable:
            self._said.put(Failed(id=command.id, code="unreadable", message="The image cannot be read"))
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


def _ask(parts: Parts, world: World, spec: BatchSpec | None = None) -> str:
    with parts.catalog.write() as session:
        experiment = session.get_one(Experiment, world.experiment)
        return start_batch(session, experiment, spec or BatchSpec(), actor="ann").id


def _attempt(parts: Parts, job_id: str, n: int = 1) -> BatchResult:
    held = work.claim(parts, job_id, n)
    assert held is not None
    with work.Lease(parts, held) as lease:
        result = predict_batch(parts, held, lease)
    finish_batch(parts, held, result)
    return result


def test_every_image_is_predicted_on_its_own_grid_and_listed(parts: Parts, world: World, hosts: ServingHosts) -> None:
    job_id = _ask(parts, world, BatchSpec(output="tonight"))
    result = _attempt(parts, job_id)
    assert (result.predicted, result.left_out, result.output) == (3, 0, "predictions/tonight")
    folder = parts.settings.home / "predictions" / "tonight"
    for name in NAMES:
        written = nib.load(folder / f"{name}.nii.gz")
        assert written.shape == SHAPE
        assert np.asarray(written.dataobj).dtype == np.uint8
    assert len((folder / f"{job_id}.jsonl").read_text().splitlines()) == 3
    assert job(parts.catalog, job_id).status == JobStatus.DONE
    assert hosts.predicted == 3


def test_what_a_lost_attempt_has_predicted_is_not_predicted_again(
    parts: Parts, world: World, hosts: ServingHosts
) -> None:
    job_id = _ask(parts, world)
    hosts.dies_at = 2
    held = work.claim(parts, job_id, 1)
    assert held is not None
    with work.Lease(parts, held) as lease, pytest.raises(HostDiedError):
        predict_batch(parts, held, lease)
    hosts.dies_at = None
    with work.Lease(parts, held) as lease:
        assert predict_batch(parts, held, lease).predicted == 3
    assert hosts.predicted == 4, "one, one that was lost, and the two that were left"


def test_an_image_that_cannot_be_read_is_left_out_and_counted(parts: Parts, world: World, hosts: ServingHosts) -> None:
    hosts.unreadable = 2
    result = _attempt(parts, _ask(parts, world))
    assert (result.predicted, result.left_out) == (2, 1)


def test_an_image_that_the_bundle_cannot_read_twice_is_skipped_with_the_reason(
    parts: Parts, world: World, hosts: ServingHosts
) -> None:
    for _ in range(2):
        hosts.predicted, hosts.unreadable = 0, 2
        _attempt(parts, _ask(parts, world))
    with parts.catalog.read() as session:
        reasons = [image.skipped_reason for image in session.scalars(select(Image).order_by(Image.id))]
    assert reasons == ["", "unreadable: The image cannot be read", ""]


def test_a_prediction_in_the_store_is_no_label(parts: Parts, world: World, hosts: ServingHosts, tmp_path: Path) -> None:
    assert hosts
    _attempt(parts, _ask(parts, world, BatchSpec(images=["p1/a"], write_predictions=True)))
    shutil.rmtree(parts.settings.home / "predictions")
    _attempt(parts, _ask(parts, world, BatchSpec(images=["p1/a"], write_predictions=True)))
    stored = list((tmp_path / "images" / "teachback" / "labels" / "p1" / "a").iterdir())
    assert len(stored) == 1, "the same version's prediction is written once"
    import_labels(parts, world.dataset)
    with parts.catalog.read() as session:
        assert session.scalars(select(Label)).all() == []


def test_a_prediction_in_a_pacs_is_one_seg_made_by_a_program(
    parts: Parts, world: World, hosts: ServingHosts, orthanc: Orthanc, tmp_path: Path
) -> None:
    assert hosts
    series = make_series(asymmetric(), oblique_affine(), patient=uuid4().hex[:12])
    orthanc.upload(series)
    spec = DatasetSpec(kind="dicomweb", url=orthanc.dicomweb, filters=f"PatientID={series[0].PatientID}")
    with parts.catalog.write() as session:
        session.get_one(Dataset, world.dataset).spec = spec.model_dump(mode="json")
    sync_dataset(parts, world.dataset)
    asked = BatchSpec(images=[series[0].SeriesInstanceUID], write_predictions=True)

    first = _attempt(parts, _ask(parts, world, asked))
    second = _attempt(parts, _ask(parts, world, asked))

    assert (first.predicted, first.left_out, second.predicted, second.left_out) == (1, 0, 1, 0)
    store = store_of(parts, world.dataset)
    [stored] = store.labels()
    assert (stored.image, stored.automatic, stored.ours) == (series[0].SeriesInstanceUID, True, True)
    path = store.fetch_label(stored.key, tmp_path / "seg")
    seg = dcmread(path)
    assert seg.StudyInstanceUID == series[0].StudyInstanceUID
    assert seg.SegmentSequence[0].SegmentationAlgorithmIdentificationSequence[0].AlgorithmName == world.version
    found = read_label(path, Geometry(asymmetric().shape, oblique_affine()))
    assert (found.array == 1).all()
    assert found.names == {1: "liver"}
    assert import_labels(parts, world.dataset) == 0


def test_a_prediction_that_no_seg_can_say_stays_in_the_folder(
    parts: Parts, world: World, hosts: ServingHosts, orthanc: Orthanc
) -> None:
    assert hosts
    series = make_series(asymmetric(), oblique_affine(), patient=uuid4().hex[:12])
    orthanc.upload(series[:1] + series[2:])
    filters = f"PatientID={series[0].PatientID}"
    spec = DatasetSpec(kind="dicomweb", url=orthanc.dicomweb, filters=filters, on_gap="resample")
    with parts.catalog.write() as session:
        session.get_one(Dataset, world.dataset).spec = spec.model_dump(mode="json")
    sync_dataset(parts, world.dataset)

    result = _attempt(
        parts, _ask(parts, world, BatchSpec(images=[series[0].SeriesInstanceUID], write_predictions=True))
    )

    assert (result.predicted, result.left_out) == (1, 0)
    assert list(store_of(parts, world.dataset).labels()) == []


def test_the_batch_has_a_flow_of_its_own_and_ids_alone_as_parameters(
    parts: Parts, world: World, runs: RunsInMemory
) -> None:
    job_id = _ask(parts, world, BatchSpec(images=["p1/a"]))
    deliver_due(parts)
    (parameters,) = runs.parameters.values()
    assert parameters == {"job_id": job_id, "attempt": 1}


@pytest.mark.parametrize(
    "spec", [BatchSpec(images=["p9/z"]), BatchSpec(dataset_id="none"), BatchSpec(version_id="none")]
)
def test_what_is_not_there_is_refused_before_a_job_exists(parts: Parts, world: World, spec: BatchSpec) -> None:
    with pytest.raises(NotFoundError):
        _ask(parts, world, spec)

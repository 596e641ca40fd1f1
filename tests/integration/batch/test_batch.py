"""A batch of predictions: written whole, gone on with after a loss, and no label to learn from."""

import shutil
from pathlib import Path
from uuid import uuid4

import nibabel as nib
import numpy as np
import pytest
from pydicom import dcmread
from sqlalchemy import select

from configs.errors import NotFoundError, SupersededError
from configs.specs.batch import BatchSpec
from configs.specs.dataset import DatasetSpec
from configs.states import JobStatus
from infra.adapters.catalog.tables import Dataset, Image, Label
from infra.wiring import Parts
from tasks.batch.predict import predict_batch
from tasks.delivery.dispatch import deliver_due
from tasks.images.geometry import Geometry
from tasks.images.stores import store_of
from tasks.images.sync import sync_dataset
from tasks.labels.forms.read import read_label
from tasks.labels.incoming.imports import import_labels
from tasks.results.files import files_of
from tasks.rounds.jobs.cancel import cancel
from tasks.rounds.steps import work
from tests.builders import World, job
from tests.dicom_series import asymmetric, make_series, oblique_affine
from tests.fixtures_orthanc import Orthanc
from tests.integration.batch.conftest import NAMES, SHAPE, ServingHosts, ask, attempt, attempt_after_a_loss
from tests.processes import wait_until
from tests.runs_in_memory import RunsInMemory


def test_every_image_is_predicted_on_its_own_grid_and_listed(parts: Parts, world: World, hosts: ServingHosts) -> None:
    job_id = ask(parts, world, BatchSpec(output="tonight"))
    result = attempt(parts, job_id)
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
    assert attempt_after_a_loss(parts, ask(parts, world), hosts).predicted == 3


def test_an_image_that_cannot_be_read_is_left_out_and_counted(parts: Parts, world: World, hosts: ServingHosts) -> None:
    hosts.unreadable = 2
    result = attempt(parts, ask(parts, world))
    assert (result.predicted, result.left_out) == (2, 1)


def test_an_image_that_the_bundle_cannot_read_twice_is_skipped_with_the_reason(
    parts: Parts, world: World, hosts: ServingHosts
) -> None:
    for _ in range(2):
        hosts.predicted, hosts.unreadable = 0, 2
        attempt(parts, ask(parts, world))
    with parts.catalog.read() as session:
        reasons = [image.skipped_reason for image in session.scalars(select(Image).order_by(Image.id))]
    assert reasons == ["", "unreadable: The image cannot be read", ""]


def test_a_prediction_in_the_store_is_no_label(parts: Parts, world: World, hosts: ServingHosts, tmp_path: Path) -> None:
    assert hosts
    attempt(parts, ask(parts, world, BatchSpec(images=["p1/a"], write_predictions=True)))
    shutil.rmtree(parts.settings.home / "predictions")
    attempt(parts, ask(parts, world, BatchSpec(images=["p1/a"], write_predictions=True)))
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

    first = attempt(parts, ask(parts, world, asked))
    second = attempt(parts, ask(parts, world, asked))

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

    result = attempt(parts, ask(parts, world, BatchSpec(images=[series[0].SeriesInstanceUID], write_predictions=True)))

    assert (result.predicted, result.left_out) == (1, 0)
    assert list(store_of(parts, world.dataset).labels()) == []


def test_the_batch_has_a_flow_of_its_own_and_ids_alone_as_parameters(
    parts: Parts, world: World, runs: RunsInMemory
) -> None:
    job_id = ask(parts, world, BatchSpec(images=["p1/a"]))
    deliver_due(parts)
    (parameters,) = runs.parameters.values()
    assert parameters == {"job_id": job_id, "attempt": 1}


@pytest.mark.parametrize(
    "spec", [BatchSpec(images=["p9/z"]), BatchSpec(dataset_id="none"), BatchSpec(version_id="none")]
)
def test_what_is_not_there_is_refused_before_a_job_exists(parts: Parts, world: World, spec: BatchSpec) -> None:
    with pytest.raises(NotFoundError):
        ask(parts, world, spec)


def test_of_a_dicom_series_the_file_is_a_seg_and_goes_to_the_pacs_only_where_its_data_set_allows(
    parts: Parts, world: World, hosts: ServingHosts, orthanc: Orthanc
) -> None:
    assert hosts
    series = make_series(asymmetric(), oblique_affine(), patient=uuid4().hex[:12])
    orthanc.upload(series)
    spec = DatasetSpec(kind="dicomweb", url=orthanc.dicomweb, filters=f"PatientID={series[0].PatientID}")
    for allowed, stored in ((False, 0), (True, 1)):
        said = spec.model_copy(update={"write_predictions": allowed})
        with parts.catalog.write() as session:
            session.get_one(Dataset, world.dataset).spec = said.model_dump(mode="json")
        sync_dataset(parts, world.dataset)
        result = attempt(parts, ask(parts, world))
        [file] = (parts.settings.home / result.output).glob("*.dcm")
        assert dcmread(file).StudyInstanceUID == series[0].StudyInstanceUID
        assert (read_label(file, Geometry(asymmetric().shape, oblique_affine())).array == 1).all()
        assert len(list(store_of(parts, world.dataset).labels())) == stored


def test_answers_about_whole_images_are_json_and_a_table(parts: Parts, world: World, hosts: ServingHosts) -> None:
    hosts.says = '{"class": 1, "probabilities": {"0": 0.25, "1": 0.75}}'
    job_id = ask(parts, world)
    result = attempt(parts, job_id)
    table = (parts.settings.home / result.output / "predictions.csv").read_text().splitlines()
    assert sorted(table) == [f"{name},0.250000,0.750000" for name in NAMES]
    names = [file.name for file in files_of(parts, job(parts.catalog, job_id))]
    assert names == [f"{job_id}.jsonl", "predictions.csv", *(f"{name}.json" for name in NAMES)]


def _is_lost(lease: work.Lease) -> bool:
    try:
        lease.check()
    except SupersededError:
        return True
    return False


def test_a_cancelled_batch_keeps_what_it_has_and_predicts_no_more(
    parts: Parts, world: World, hosts: ServingHosts
) -> None:
    job_id = ask(parts, world)
    held = work.claim(parts, job_id, 1)
    assert held is not None

    def cancelled() -> None:
        if hosts.predicted == 2:
            assert job(parts.catalog, job_id).message == "1 of 3 images are looked at"
            with parts.catalog.write() as session:
                cancel(session, job_id, "ann")
            wait_until(lambda: _is_lost(lease), "the attempt to hear of it")

    hosts.before = cancelled
    parts.settings = parts.settings.model_copy(update={"attempt_renew_s": 0.01})
    with work.Lease(parts, held) as lease, pytest.raises(SupersededError):
        predict_batch(parts, held, lease)
    assert hosts.predicted == 2
    shown = job(parts.catalog, job_id)
    assert shown.status == JobStatus.CANCELING
    files = files_of(parts, shown)
    assert [file.path.exists() for file in files] == [True] * 3, "the list, and what was predicted"

"""Several series of a study are one image: which they are, on what grid, and whose labels it has."""

from collections.abc import Sequence
from pathlib import Path
from uuid import uuid4

import numpy as np
import pytest
from pydicom.dataset import FileDataset

from configs.errors import InvalidRequestError, NotFoundError
from configs.specs.dataset import Channel, DatasetSpec
from infra.adapters.cache.disk import DiskCache
from infra.adapters.images.base import LabelToStore, StoredImage
from infra.adapters.images.dicomweb import DicomWebStore
from infra.adapters.images.open import open_store
from tasks.images.prepare import LocalImage, local_image
from tasks.images.volume import Volume, read_volume
from tasks.labels.forms.write import write_seg
from tests.dicom_series import SHAPE, asymmetric, make_series, oblique_affine
from tests.fixtures_orthanc import Orthanc

CHANNELS = [Channel(name="t1", SeriesDescription="*T1*"), Channel(name="flair", SeriesDescription="ax flair")]
Series = list[FileDataset]


@pytest.fixture
def patient() -> str:
    return uuid4().hex[:12]


def _study(patient: str, *described: str, finer: Sequence[str] = (), elsewhere: Sequence[str] = ()) -> list[Series]:
    """Return a series for each description, in one study; *finer* ones on a grid of half the spacing along i."""
    first: FileDataset | None = None
    made = []
    for number, description in enumerate(described):
        affine, array = oblique_affine(), asymmetric() + 10 * number
        if description in finer:
            affine[:3, 0] /= 2
            array = np.repeat(array, 2, axis=0)[: 2 * SHAPE[0] - 1]
        series = make_series(array, affine, patient=patient)
        first = first or series[0]
        for instance in series:
            instance.SeriesDescription = description
            instance.StudyInstanceUID = first.StudyInstanceUID
            if description not in elsewhere:
                instance.FrameOfReferenceUID = first.FrameOfReferenceUID
        made.append(series)
    return made


def _store(orthanc: Orthanc, patient: str) -> DicomWebStore:
    return DicomWebStore(orthanc.dicomweb, filters=f"PatientID={patient}", channels=CHANNELS)


def _local(store: DicomWebStore, image: StoredImage, tmp_path: Path) -> LocalImage:
    return local_image(store, DiskCache(tmp_path / "cache", 10**9), image.key, image.fingerprint)


def test_the_series_of_a_study_are_one_image_and_its_labels_speak_of_the_first(
    orthanc: Orthanc, patient: str, tmp_path: Path
) -> None:
    # The first channel's series is not the first of the study.
    flair, t1, other = _study(patient, "Ax FLAIR", "sag t1 post", "T2 star")
    for series in (other, flair, t1):
        orthanc.upload(series)
    spec = DatasetSpec(kind="dicomweb", url=orthanc.dicomweb, filters=f"PatientID={patient}", channels=CHANNELS)
    store = open_store(spec, credentials=None)
    path = tmp_path / "seg.dcm"
    marks = Volume((asymmetric() % 2).astype(np.uint8), oblique_affine())
    write_seg(marks, {1: "tumour"}, list(t1), path, label_id=patient, author="A", origin="MANUAL")

    [image] = store.images()
    stored = store.put_label(image.key, LabelToStore(id="one", path=path))

    assert image.key == t1[0].SeriesInstanceUID
    assert (image.name, image.skipped) == ("sag t1 post", "")
    assert store.image(image.key) == image
    assert [label.image for label in store.labels()] == [image.key]
    assert store.label(image.key, stored.key).key == stored.key
    assert isinstance(store, DicomWebStore)
    assert store.arrived(flair[0].SeriesInstanceUID) == image
    for key in (flair[0].SeriesInstanceUID, flair[0].StudyInstanceUID):
        with pytest.raises(NotFoundError):
            store.image(key)
    local = _local(store, image, tmp_path)
    assert local.headers is not None
    assert [int(read_volume(file).array[0, 0, 0]) for file in local.files] == [-990, -1000]
    assert local.frame_of_reference == t1[0].FrameOfReferenceUID


def test_a_series_of_another_grid_is_interpolated_onto_the_first_one_s(
    orthanc: Orthanc, patient: str, tmp_path: Path
) -> None:
    for series in _study(patient, "T1", "Ax FLAIR", finer=["Ax FLAIR"]):
        orthanc.upload(series)
    store = _store(orthanc, patient)
    [image] = store.images()

    t1, flair = map(read_volume, _local(store, image, tmp_path).files)

    np.testing.assert_allclose(flair.affine, t1.affine)
    np.testing.assert_allclose(flair.array, t1.array + 10, atol=1e-2)


def test_a_series_of_another_frame_of_reference_is_refused_and_named(
    orthanc: Orthanc, patient: str, tmp_path: Path
) -> None:
    for series in _study(patient, "T1", "Ax FLAIR", finer=["Ax FLAIR"], elsewhere=["Ax FLAIR"]):
        orthanc.upload(series)
    store = _store(orthanc, patient)
    [image] = store.images()
    with pytest.raises(InvalidRequestError, match="Channel 2 of the image's 2 lies in another frame of reference"):
        _local(store, image, tmp_path)


@pytest.mark.parametrize(
    ("described", "reason"),
    [
        (("T1", "T2"), "missing: no series match channel flair"),
        (("T1", "T1 post", "Ax FLAIR"), "ambiguous: 2 series match channel t1"),
        (("T2",), "missing: no series match channel t1; missing: no series match channel flair"),
    ],
)
def test_a_study_that_lacks_a_channel_is_listed_with_the_reason(
    orthanc: Orthanc, patient: str, described: tuple[str, ...], reason: str
) -> None:
    study = _study(patient, *described)
    for series in study:
        orthanc.upload(series)
    [image] = _store(orthanc, patient).images()
    assert (image.key, image.skipped) == (study[0][0].StudyInstanceUID, reason)

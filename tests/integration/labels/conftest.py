"""One data set with one image, in a folder and in a PACS, and labels that fit it."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom.dataset import FileDataset
from sqlalchemy import select

from configs.settings import Settings
from configs.specs.dataset import DatasetSpec
from infra.adapters.catalog.tables import Bundle, Dataset, Experiment, ExperimentDataset, Label, Organisation
from infra.adapters.catalog.tables.base import new_id
from infra.wiring import Parts, open_parts
from tasks.images.geometry import Geometry
from tasks.images.sync import sync_dataset
from tasks.images.volume import Volume, write_nifti
from tasks.labels.forms.write import write_seg
from tests.dicom_series import SHAPE, asymmetric, make_series, oblique_affine
from tests.fixtures_orthanc import Orthanc

LABELS = {1: "liver", 2: "spleen"}
IMAGE = Geometry(SHAPE, oblique_affine())


@dataclass(frozen=True)
class Clinic:
    """One data set with one image, and an experiment that learns from it."""

    parts: Parts
    dataset: str
    image: str
    series: list[FileDataset]

    def rows(self) -> list[Label]:
        with self.parts.catalog.read() as session:
            return list(session.scalars(select(Label).where(Label.dataset_id == self.dataset)))


@pytest.fixture
def parts(sqlite_url: str, tmp_path: Path) -> Iterator[Parts]:
    opened = open_parts(Settings(home=tmp_path / "home", catalog_url=sqlite_url))
    yield opened
    opened.close()


@pytest.fixture
def folder(parts: Parts, tmp_path: Path) -> Clinic:
    (tmp_path / "images" / "p").mkdir(parents=True)
    write_nifti(Volume(asymmetric(), IMAGE.affine), tmp_path / "images" / "p" / "ct.nii.gz")
    spec = DatasetSpec(kind="folder", url=str(tmp_path / "images"))
    return Clinic(parts, _dataset(parts, spec), "p/ct", make_series(asymmetric(), IMAGE.affine))


@pytest.fixture
def pacs(parts: Parts, orthanc: Orthanc) -> Clinic:
    series = make_series(asymmetric(), IMAGE.affine, patient=uuid4().hex[:12])
    orthanc.upload(series)
    spec = DatasetSpec(kind="dicomweb", url=orthanc.dicomweb, filters=f"PatientID={series[0].PatientID}")
    return Clinic(parts, _dataset(parts, spec), series[0].SeriesInstanceUID, series)


def _dataset(parts: Parts, spec: DatasetSpec) -> str:
    with parts.catalog.write() as session:
        labels = {str(index): name for index, name in LABELS.items()}
        bundle = Bundle(id="0" * 64, name="organs", version="1", tier="A", labels=labels, check={})
        session.add_all([Organisation(id="clinic"), bundle])
        session.flush()
        dataset = Dataset(id=new_id(), org="clinic", name="ct", spec=json.loads(spec.model_dump_json()))
        experiment = Experiment(
            id=new_id(), org="clinic", name="organs", arch="x", bundle_id=bundle.id, labels=labels, lineage="l"
        )
        session.add_all([dataset, experiment])
        session.flush()
        session.add(ExperimentDataset(experiment_id=experiment.id, dataset_id=dataset.id, use="train"))
        made = dataset.id
    assert sync_dataset(parts, made).added == 1
    return made


def marks() -> NDArray[np.uint8]:
    array = np.zeros(SHAPE, np.uint8)
    array[1:3, 0, 0], array[4:, 3:5, 1] = 1, 2
    return array


def label_file(path: Path, array: NDArray[np.uint8] | None = None) -> Path:
    write_nifti(Volume(marks() if array is None else array, IMAGE.affine), path)
    return path


def label_seg(clinic: Clinic, path: Path, series: list[FileDataset] | None = None) -> Path:
    volume = Volume(marks(), IMAGE.affine)
    write_seg(volume, LABELS, series or clinic.series, path, label_id=uuid4().hex, author="E", origin="MANUAL")
    return path

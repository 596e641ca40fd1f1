"""A round of boxes in real bundle hosts: from saved JSON to a published version."""

import json
from collections.abc import Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from sqlalchemy import select

from configs.settings import Settings
from configs.specs.annotation import GateSpec
from configs.specs.round import RoundSpec
from configs.specs.train import TrainSpec
from configs.wire.host import CheckResult
from infra.adapters.catalog.tables import Bundle, Dataset, Experiment, ExperimentDataset, Image, Organisation
from infra.adapters.catalog.tables.base import new_id
from infra.wiring import Parts
from tasks.bundles.examine import examine
from tasks.images.sync import sync_dataset
from tasks.labels.incoming.save import LabelParams, save_label
from tasks.publishing.first import publish_first
from tasks.rounds.jobs.start import start_train
from tests.builders import BUNDLE, ORG
from tests.rounds_in_memory import Ward
from tests.runs_in_memory import RunsInMemory
from tests.shapes.answering import finds_boxes
from tests.training_in_memory import TrainingInMemory

SHAPE = (24, 22, 20)
RADIUS = 3.5


@pytest.fixture
def parts(sqlite_url: str, tmp_path: Path, runs: RunsInMemory) -> Iterator[Parts]:
    settings = Settings(home=tmp_path / "home", catalog_url=sqlite_url)
    settings.home.mkdir()
    opened = Parts(settings, orchestrator=runs)
    yield opened
    opened.close()


def _image(folder: Path, number: int) -> list[float]:
    """Write a ball on a grid of one millimetre; return the box around it, LPS."""
    random = np.random.default_rng(number)
    centre = random.uniform(6, np.array(SHAPE) - 6)
    index = np.stack(np.meshgrid(*map(np.arange, SHAPE), indexing="ij"), -1)
    values = (np.linalg.norm(index - centre, axis=-1) < RADIUS) + random.normal(0, 0.1, SHAPE)
    folder.mkdir(parents=True)
    nib.save(nib.Nifti1Image(values.astype(np.float32), np.diag([-1, -1, 1, 1])), folder / "ct.nii.gz")
    return [*(centre - RADIUS), *(centre + RADIUS)]


def _experiment(parts: Parts, dataset: str, check: CheckResult) -> str:
    told = check.model_dump(mode="json")
    experiment = Experiment(
        id=new_id(), org=ORG, name="n", arch="a", bundle_id=BUNDLE, labels={"0": "nodule"}, lineage=new_id(),
        learns=check.answers,
    )  # fmt: skip
    with parts.catalog.write() as session:
        session.add(Bundle(id=BUNDLE, name="b", version="1", tier=check.tier, labels={"0": "nodule"}, check=told))
        session.flush()
        session.add(experiment)
        session.flush()
        session.add(ExperimentDataset(experiment_id=experiment.id, use="train", dataset_id=dataset))
        publish_first(session, experiment, actor="ann")
        return experiment.id


@pytest.mark.usefixtures("warm_host")
def test_boxes_that_people_save_are_learnt_and_published(parts: Parts, tmp_path: Path) -> None:
    patients = ["a", "b", "c", "d", "e"]
    boxes = {patient: _image(tmp_path / "images" / patient, number) for number, patient in enumerate(patients)}
    bundle = finds_boxes().write(parts.settings.home / "bundles" / BUNDLE)
    check = examine(parts.hosts, bundle, tmp_path / "check")
    with parts.catalog.write() as session:
        session.add(Organisation(id=ORG))
        session.flush()
        dataset = Dataset(id=new_id(), org=ORG, name="d", spec={"kind": "folder", "url": str(tmp_path / "images")})
        session.add(dataset)
    sync_dataset(parts, dataset.id)
    ward = Ward(parts, TrainingInMemory(), tmp_path, dataset.id, _experiment(parts, dataset.id, check), {})
    with parts.catalog.write() as session:
        for image in session.scalars(select(Image)):
            image.held_out = image.key.startswith("e")
    for patient, box in boxes.items():
        (tmp_path / "drawn.json").write_text(json.dumps({"boxes": [box], "classes": [0]}))
        saved = save_label(parts, dataset.id, f"{patient}/ct", tmp_path / "drawn.json", LabelParams(), "ann")
        assert (saved.warnings, saved.quarantined) == ([], False)

    with parts.catalog.write() as session:
        spec = RoundSpec(publish="gate", gate=GateSpec(min_cases=5), train=TrainSpec(epochs=15))
        job = start_train(session, session.get_one(Experiment, ward.experiment), spec, actor="ann").id
    held = ward.claim(job)
    first = ward.published()
    result = ward.run(held)

    assert ward.published() not in {None, first}, result
    assert result.metric_name == "mean_average_precision"

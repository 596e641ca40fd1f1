"""Whole rounds with bundle hosts in memory: a folder of tiny images, an experiment, and what becomes of its rounds."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from sqlalchemy import select

from configs.specs.annotation import AnnotationSpec, GateSpec, PublishPolicy
from configs.specs.round import RoundSpec
from infra.adapters.catalog import jobs
from infra.adapters.catalog.tables import (
    Bundle,
    Dataset,
    Experiment,
    ExperimentDataset,
    Image,
    Job,
    ModelVersion,
    Organisation,
)
from infra.adapters.catalog.tables.base import new_id
from infra.wiring import Parts
from tasks.images.sync import sync_dataset
from tasks.labels.incoming.save import LabelParams, save_label
from tasks.publishing.first import publish_first
from tasks.rounds.jobs.start import start_annotation, start_train
from tasks.rounds.records.result import RoundResult
from tasks.rounds.records.snapshot import Snapshot
from tasks.rounds.steps import decide, evaluate, finish, gather, train, work
from tasks.rounds.steps.evaluate import Evaluation, read_evaluation
from tests.builders import BUNDLE, ORG
from tests.training_in_memory import TrainingInMemory

SHAPE = (6, 5, 4)


@dataclass
class Ward:
    """An experiment with one label, `liver`; each image is of a patient of its own."""

    parts: Parts
    hosts: TrainingInMemory
    folder: Path
    dataset: str
    experiment: str
    images: dict[str, int]
    elsewhere: str = ""

    def label(self, *patients: str, drawn: int = 1, unedited: bool = False) -> None:
        """Save a label of each of these patients; *drawn* makes its content."""
        for patient in patients:
            array = np.zeros(SHAPE, np.uint8)
            array.reshape(-1)[:drawn] = 1
            nib.save(nib.Nifti1Image(array, np.eye(4)), self.folder / "drawn.nii.gz")
            save_label(
                self.parts,
                self.dataset,
                f"{patient}/ct",
                self.folder / "drawn.nii.gz",
                LabelParams(unedited=unedited),
                "ann",
            )

    def separate_evaluation(self, *patients: str) -> dict[str, int]:
        """Give the experiment a data set for evaluation alone, with an image of each of these patients."""
        self.elsewhere = add_dataset(self.parts, self.folder / "elsewhere", patients)
        with self.parts.catalog.write() as session:
            session.add(ExperimentDataset(experiment_id=self.experiment, use="eval", dataset_id=self.elsewhere))
            rows = session.scalars(select(Image).where(Image.dataset_id == self.elsewhere)).all()
            return {row.key.split("/")[0]: row.id for row in rows}

    def label_elsewhere(self, patient: str) -> None:
        """Save a label in the data set for evaluation."""
        save_label(self.parts, self.elsewhere, f"{patient}/ct", self.folder / "drawn.nii.gz", LabelParams(), "ann")

    def start(self, publish: PublishPolicy = "gate", *, min_cases: int = 5) -> work.Claim:
        """Start a training on all labels and claim it."""
        with self.parts.catalog.write() as session:
            spec = RoundSpec(publish=publish, gate=GateSpec(min_cases=min_cases))
            job_id = start_train(session, session.get_one(Experiment, self.experiment), spec, actor="ann").id
        return self.claim(job_id)

    def claim(self, job_id: str) -> work.Claim:
        held = work.claim(self.parts, job_id, 1)
        assert held is not None
        return held

    def loop(self, round_size: int, publish: PublishPolicy = "gate") -> str:
        """Start a loop."""
        with self.parts.catalog.write() as session:
            row = session.get_one(Experiment, self.experiment)
            spec = AnnotationSpec(round_size=round_size, publish=publish)
            return start_annotation(session, row, spec, actor="ann").id

    def run(self, held: work.Claim) -> RoundResult:
        """Run every step of a round."""
        with work.Lease(self.parts, held) as lease:
            snapshot = gather.gather(self.parts, held)
            challenger = train.fine_tune(self.parts, held, lease, snapshot)
            scores = None
            if challenger is not None:
                scores = evaluate.evaluate(self.parts, held, lease, snapshot, challenger)
                scores = decide.decide(self.parts, held, lease, snapshot, scores)
            finish.finish(self.parts, held, snapshot, scores)
        return self.result(held)

    def round(self, publish: PublishPolicy = "gate", *, min_cases: int = 5) -> RoundResult:
        """Start a training and run it to its end."""
        return self.run(self.start(publish, min_cases=min_cases))

    def job(self, held: work.Claim) -> Job:
        with self.parts.catalog.read() as session:
            return jobs.get(session, held.job_id)

    def result(self, held: work.Claim) -> RoundResult:
        return RoundResult.model_validate(self.job(held).result)

    def snapshot(self, held: work.Claim) -> Snapshot:
        return work.read_snapshot(self.parts, self.job(held).snapshot or "")

    def evaluation(self, held: work.Claim, step: str = evaluate.STEP) -> Evaluation:
        return read_evaluation(self.parts, work.step_done(self.parts, held, step) or "")

    def versions(self) -> list[str]:
        """The experiment's versions, the oldest first."""
        with self.parts.catalog.read() as session:
            query = select(ModelVersion.id).where(ModelVersion.experiment_id == self.experiment)
            return list(session.scalars(query.order_by(ModelVersion.number)))

    def published(self) -> str | None:
        with self.parts.catalog.read() as session:
            return session.get_one(Experiment, self.experiment).published_version

    def by_number(self, *scores: float | None) -> None:
        """From now on version n scores the n-th of these on every case; None = it predicts nothing."""

        def score(version: str, _case: str) -> dict[str, float | None] | None:
            value = scores[self.versions().index(version)]
            return None if value is None else {"liver": value}

        self.hosts.score = score


def build_ward(
    parts: Parts, hosts: TrainingInMemory, folder: Path, *, train: Sequence[str], evaluation: Sequence[str] = ()
) -> Ward:
    """Make images of these patients and an experiment.

    Args:
        parts: With these hosts.
        hosts: What trains and scores.
        folder: Where the images go.
        train: Patients whom the hash sends to training.
        evaluation: Patients whom the hash sends to evaluation.
    """
    metadata = parts.settings.home / "bundles" / BUNDLE / "configs" / "metadata.json"
    metadata.parent.mkdir(parents=True)
    metadata.write_text("{}")
    experiment = Experiment(
        id=new_id(), org=ORG, name="liver", arch="a", bundle_id=BUNDLE, labels={"1": "liver"}, lineage=new_id()
    )
    with parts.catalog.write() as session:
        session.add(Organisation(id=ORG))
        session.add(Bundle(id=BUNDLE, name="b", version="1", tier="A", labels={"1": "liver"}, check={}))
    dataset = add_dataset(parts, folder / "images", (*train, *evaluation))
    with parts.catalog.write() as session:
        session.add(experiment)
        session.flush()
        session.add(ExperimentDataset(experiment_id=experiment.id, use="train", dataset_id=dataset))
        publish_first(session, experiment, actor="ann")
        rows = session.scalars(select(Image).where(Image.dataset_id == dataset)).all()
        for row in rows:
            row.held_out = row.key.split("/")[0] in evaluation
        images = {row.key.split("/")[0]: row.id for row in rows}
    return Ward(parts, hosts, folder, dataset, experiment.id, images)


def add_dataset(parts: Parts, folder: Path, patients: Sequence[str]) -> str:
    """Make a data set with one image of each of these patients; return its id."""
    for patient in patients:
        (folder / patient).mkdir(parents=True)
        nib.save(nib.Nifti1Image(np.zeros(SHAPE, np.float32), np.eye(4)), folder / patient / "ct.nii.gz")
    with parts.catalog.write() as session:
        dataset = Dataset(id=new_id(), org=ORG, name=folder.name, spec={"kind": "folder", "url": str(folder)})
        session.add(dataset)
    sync_dataset(parts, dataset.id)
    return dataset.id

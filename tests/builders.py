"""Rows for tests: an organisation, a data set with images, an experiment, its version 0, and its loop."""

from dataclasses import dataclass
from random import Random

from sqlalchemy import update
from sqlalchemy.orm import Session

from configs.specs.annotation import AnnotationSpec, GateSpec, StopCriteria
from infra.adapters.catalog.session import Catalog
from infra.adapters.catalog.tables import (
    Bundle,
    Dataset,
    Experiment,
    ExperimentDataset,
    Image,
    Job,
    ModelVersion,
    Organisation,
    Outbox,
)
from infra.adapters.catalog.tables.base import new_id
from tasks.rounds.count import CheckedNotice
from tasks.rounds.jobs.start import start_annotation

ORG = "clinic"
BUNDLE = "b" * 64


@dataclass(frozen=True)
class World:
    """Ids of what `build` made."""

    dataset: str
    experiment: str
    version: str
    images: list[int]


def build(catalog: Catalog, *, images: int = 10, evaluation_from: int | None = None) -> World:
    """Make a data set of images of one patient each, and an experiment that trains on it.

    Args:
        catalog: Where.
        images: How many.
        evaluation_from: Images from this number on are of patients whom the hash sends to evaluation.
    """
    with catalog.write() as session:
        session.merge(Organisation(id=ORG))
        session.merge(
            Bundle(id=BUNDLE, name="sample", version="1", tier="A", labels={"1": "liver"}, check={}, registered_by="")
        )
        dataset = Dataset(id=new_id(), org=ORG, name="studies", spec={"kind": "folder", "url": "/nowhere"})
        experiment = Experiment(
            id=new_id(),
            org=ORG,
            name="liver",
            arch="monai_segmentation",
            bundle_id=BUNDLE,
            labels={"1": "liver"},
            lineage=new_id(),
        )
        session.add_all([dataset, experiment])
        session.flush()
        version = ModelVersion(id=new_id(), experiment_id=experiment.id, number=0, bundle_id=BUNDLE)
        session.add_all([version, ExperimentDataset(experiment_id=experiment.id, use="train", dataset_id=dataset.id)])
        session.flush()
        experiment.published_version = version.id
        rows = _images(session, dataset.id, images, evaluation_from)
        return World(dataset.id, experiment.id, version.id, rows)


def second_experiment(catalog: Catalog, world: World, labels: dict[str, str]) -> World:
    """Make another experiment that trains on the same images, to learn other labels."""
    with catalog.write() as session:
        experiment = Experiment(
            id=new_id(),
            org=ORG,
            name="another",
            arch="monai_segmentation",
            bundle_id=BUNDLE,
            labels=labels,
            lineage=new_id(),
        )
        session.add(experiment)
        session.flush()
        version = ModelVersion(id=new_id(), experiment_id=experiment.id, number=0, bundle_id=BUNDLE)
        use = ExperimentDataset(experiment_id=experiment.id, use="train", dataset_id=world.dataset)
        session.add_all([version, use])
        session.flush()
        experiment.published_version = version.id
        return World(world.dataset, experiment.id, version.id, world.images)


def add_version(catalog: Catalog, world: World, number: int, job_id: str | None = None) -> str:
    """Make another model version of the experiment."""
    with catalog.write() as session:
        version = ModelVersion(
            id=new_id(),
            experiment_id=world.experiment,
            number=number,
            bundle_id=BUNDLE,
            weights="a" * 64,
            job_id=job_id,
        )
        session.add(version)
        return version.id


def start_loop(
    catalog: Catalog,
    world: World,
    *,
    round_size: int = 3,
    max_rounds: int | None = None,
    max_retries: int = 1,
    min_cases: int = 5,
) -> str:
    """Start the experiment's loop."""
    spec = AnnotationSpec(
        round_size=round_size,
        stop_criteria=StopCriteria(max_rounds=max_rounds),
        gate=GateSpec(min_cases=min_cases),
        max_retries=max_retries,
    )
    with catalog.write() as session:
        experiment = session.get_one(Experiment, world.experiment)
        return start_annotation(session, experiment, spec, actor="test").id


def notice(image: int, *, key: str = "label", fingerprint: str = "f1", kind: str = "added") -> CheckedNotice:
    """A checked notification of one label."""
    return CheckedNotice(
        kind="removed" if kind == "removed" else "added",
        image_id=image,
        store_key=f"{key}-{image}",
        fingerprint=fingerprint,
        blob="c" * 64,
    )


def job(catalog: Catalog, job_id: str) -> Job:
    """Read a job."""
    with catalog.read() as session:
        return session.get_one(Job, job_id)


def hurry(catalog: Catalog) -> None:
    """Make everything due at once that the outbox would wait with."""
    with catalog.write() as session:
        session.execute(update(Outbox).values(due_at=0.0))


def _images(session: Session, dataset_id: str, count: int, evaluation_from: int | None) -> list[int]:
    order = Random(7)
    rows = [
        Image(
            dataset_id=dataset_id,
            key=f"image-{number:03}",
            patient_key=f"{number:064x}",
            held_out=evaluation_from is not None and number >= evaluation_from,
            fingerprint="1",
            shuffle=order.random(),
        )
        for number in range(count)
    ]
    session.add_all(rows)
    session.flush()
    return [row.id for row in rows]

"""Many processes' worth of units on a few loops at once: none raises, and what they counted agrees afterwards."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from random import Random
from threading import Barrier

import pytest
from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from configs.errors import ConflictError, SupersededError
from configs.specs.annotation import AnnotationSpec, GateSpec
from configs.states import TERMINAL, AttemptState, JobStatus
from infra.adapters.catalog import jobs
from infra.adapters.catalog.locks import lock
from infra.adapters.catalog.session import Catalog
from infra.adapters.catalog.tables import (
    Attempt,
    Dataset,
    Experiment,
    ExperimentDataset,
    Job,
    LabelEvent,
    ModelVersion,
    PendingImage,
    Publication,
)
from infra.adapters.catalog.tables.base import new_id
from tasks.devices.claims import Claimant
from tasks.publishing.publish import publish_by_person
from tasks.rounds.count import notify, open_round_if_due
from tasks.rounds.jobs import attempts, turns
from tasks.rounds.jobs.cancel import cancel
from tasks.rounds.jobs.start import start_annotation
from tests.builders import BUNDLE, ORG, World, build, notice

THREADS, STEPS, LOOPS = 8, 6, 3
Move = Callable[[Catalog, World, list[str], Random], None]


@pytest.fixture
def catalog(postgresql_url: str) -> Iterator[Catalog]:
    """A catalog on PostgreSQL alone: on SQLite a unit has the whole database, so none can meet another."""
    opened = Catalog(postgresql_url)
    yield opened
    opened.close()


@pytest.fixture
def worlds(catalog: Catalog) -> tuple[World, list[str]]:
    """A data set of forty images, and three experiments whose loops all count its labels."""
    world = build(catalog, images=40)
    with catalog.write() as session:
        experiments = [world.experiment, *(_another(session, world) for _ in range(LOOPS - 1))]
        spec = AnnotationSpec(round_size=2, gate=GateSpec())
        for experiment in experiments:
            start_annotation(session, session.get_one(Experiment, experiment), spec, actor="test")
    return world, experiments


def test_units_that_meet_in_every_order_all_end_and_their_counts_agree(
    catalog: Catalog, worlds: tuple[World, list[str]]
) -> None:
    world, experiments = worlds
    start = Barrier(THREADS)

    def work(number: int) -> int:
        chance = Random(number)
        order = experiments if number % 2 else experiments[::-1]
        start.wait()
        for _ in range(STEPS):
            _move(chance)(catalog, world, order, chance)
        return number

    with ThreadPoolExecutor(THREADS) as pool:
        assert sorted(pool.map(work, range(THREADS))) == list(range(THREADS))

    with catalog.read() as session:
        _agree(session, world, experiments)


def _move(chance: Random) -> Move:
    moves: list[Move] = [_notify, _notify, _notify, _publish, _cancel_rounds, _finish, _finish]
    return chance.choice(moves)


def _notify(catalog: Catalog, world: World, _experiments: list[str], chance: Random) -> None:
    images = chance.sample(world.images, 3)
    kinds = ["added", "added", "removed"]
    said = [notice(image, fingerprint=str(chance.random()), kind=chance.choice(kinds)) for image in images]
    catalog.unit(lambda session: notify(session, world.dataset, said, "ann"))


def _publish(catalog: Catalog, _world: World, experiments: list[str], _chance: Random) -> None:
    for experiment in experiments:
        try:
            catalog.unit(partial(_publish_next, experiment=experiment))
        except ConflictError:
            continue  # somebody published meanwhile, as a person would be told


def _publish_next(session: Session, experiment: str) -> None:
    row = session.get_one(Experiment, experiment)
    versions = session.scalars(select(ModelVersion.id).where(ModelVersion.experiment_id == experiment)).all()
    wanted = sorted(versions)[row.published_seq % len(versions)]
    publish_by_person(session, experiment, wanted, expected=row.published_version, actor="eve", reason="turn")


def _cancel_rounds(catalog: Catalog, _world: World, experiments: list[str], _chance: Random) -> None:
    def work(session: Session) -> None:
        query = select(Job.id).where(Job.experiment_id.in_(experiments), Job.action == "train")
        found = session.scalars(query.where(Job.status.not_in(TERMINAL)).order_by(Job.id)).all()
        for job_id in found:
            cancel(session, job_id, "eve")

    catalog.unit(work)


def _finish(catalog: Catalog, world: World, experiments: list[str], _chance: Random) -> None:
    for experiment in experiments:
        with catalog.read() as session:
            query = select(Job.id).where(Job.experiment_id == experiment, Job.action == "train")
            job_id = session.scalar(query.where(Job.status.not_in(TERMINAL)))
        if job_id is None:
            continue
        try:
            if catalog.unit(partial(_claim, job_id=job_id)):
                catalog.unit(partial(_end, world=world, job_id=job_id))
        except SupersededError:
            catalog.unit(partial(attempts.end_asked, job_id=job_id, n=1))  # it was cancelled meanwhile


def _claim(session: Session, job_id: str) -> bool:
    n = jobs.get(session, job_id).current_attempt
    return attempts.claim(session, job_id, n, Claimant(new_id(), "here", 1, born="", lease_s=60))


def _end(session: Session, world: World, job_id: str) -> None:
    """Use up what is pending, make a version and close the round, as gather, fine-tune and finish do in turn."""
    session.scalar(lock(session, select(Dataset.id).where(Dataset.id == world.dataset)))
    job = attempts.fence(session, job_id, jobs.get(session, job_id).current_attempt)
    loop = jobs.locked(session, job.parent_id or "")
    session.execute(delete(PendingImage).where(PendingImage.job_id == loop.id))
    loop.pending = 0
    newest = select(func.max(ModelVersion.number)).where(ModelVersion.experiment_id == job.experiment_id)
    number = (session.scalar(newest) or 0) + 1
    made = ModelVersion(experiment_id=job.experiment_id, number=number, bundle_id=BUNDLE, job_id=job.id)
    session.add(made)
    job.status = JobStatus.DONE
    session.execute(update(Attempt).where(Attempt.job_id == job.id).values(state=AttemptState.ENDED))
    session.flush()
    loop.rounds_done += 1
    open_round_if_due(session, loop)
    turns.pass_on(session, job.experiment_id)


def _agree(session: Session, world: World, experiments: list[str]) -> None:
    seqs = session.scalars(select(LabelEvent.seq).where(LabelEvent.dataset_id == world.dataset)).all()
    assert sorted(seqs) == list(range(1, session.get_one(Dataset, world.dataset).label_seq + 1))
    for experiment in experiments:
        loop = session.scalars(select(Job).where(Job.experiment_id == experiment, Job.action == "annotation")).one()
        counted = session.scalar(select(func.count()).where(PendingImage.job_id == loop.id))
        assert loop.pending == counted
        rounds = session.scalars(select(Job).where(Job.parent_id == loop.id).order_by(Job.round_no)).all()
        assert [each.round_no for each in rounds] == list(range(1, len(rounds) + 1))
        assert sum(each.status == JobStatus.DONE for each in rounds) == loop.rounds_done
        opened = [each for each in rounds if each.status not in TERMINAL]
        assert len(opened) <= 1
        assert opened or loop.pending < (loop.round_size or 0), "a round that is due is open"
        published = select(Publication.seq).where(Publication.experiment_id == experiment)
        row = session.get_one(Experiment, experiment)
        assert sorted(session.scalars(published)) == list(range(1, row.published_seq + 1))


def _another(session: Session, world: World) -> str:
    experiment = Experiment(id=new_id(), org=ORG, name="more", arch="monai_segmentation", bundle_id=BUNDLE)
    experiment.labels, experiment.lineage = {"1": "liver"}, new_id()
    session.add(experiment)
    session.flush()
    version = ModelVersion(id=new_id(), experiment_id=experiment.id, number=0, bundle_id=BUNDLE)
    session.add_all([version, ExperimentDataset(experiment_id=experiment.id, use="train", dataset_id=world.dataset)])
    session.flush()
    experiment.published_version = version.id
    return experiment.id

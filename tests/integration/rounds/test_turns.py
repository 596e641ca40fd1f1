"""One training of an experiment at a time; the same request twice is one training."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Barrier

import pytest
from sqlalchemy import select, text, update
from sqlalchemy.exc import IntegrityError, OperationalError

from configs.errors import NotFoundError
from configs.specs.annotation import PublishPolicy
from configs.specs.batch import BatchSpec
from configs.specs.round import RoundSpec
from configs.specs.train import TrainSpec
from configs.states import JobStatus
from infra.adapters.catalog import experiments
from infra.adapters.catalog.session import Catalog
from infra.adapters.catalog.tables import Experiment, Job, ModelVersion, Outbox
from infra.adapters.catalog.tables.base import now
from infra.adapters.orchestration.base import RunState
from infra.wiring import Parts
from tasks.batch.start import start_batch
from tasks.delivery.dispatch import deliver_due
from tasks.reconcile.attempts import ended_runs, unstarted
from tasks.reconcile.followers import let_go, let_one_go
from tasks.rounds.count import notify
from tasks.rounds.jobs import attempts
from tasks.rounds.jobs.cancel import cancel
from tasks.rounds.jobs.pause import pause, resume
from tasks.rounds.jobs.start import start_train
from tasks.rounds.steps import work
from tests.builders import ORG, World, build, job, notice, start_loop
from tests.runs_in_memory import RunsInMemory


@pytest.fixture
def world(parts: Parts) -> World:
    """Images and an experiment."""
    return build(parts.catalog)


def _train(parts: Parts, world: World, *, publish: PublishPolicy = "none", actor: str = "ann", **spec: object) -> str:
    with parts.catalog.write() as session:
        asked = RoundSpec(train=TrainSpec.model_validate(spec), publish=publish)
        return start_train(session, session.get_one(Experiment, world.experiment), asked, actor=actor).id


def _round(parts: Parts, world: World) -> str:
    loop = start_loop(parts.catalog, world, round_size=1)
    with parts.catalog.write() as session:
        notify(session, world.dataset, [notice(world.images[0])], "ann")
        return session.scalars(select(Job.id).where(Job.parent_id == loop)).one()


def _deliver_all(parts: Parts) -> None:
    with parts.catalog.write() as session:
        session.execute(update(Outbox).values(due_at=0.0))
    deliver_due(parts)


def _started(runs: RunsInMemory, job_id: str) -> list[int]:
    return [asked["attempt"] for asked in runs.parameters.values() if asked["job_id"] == job_id]


def test_while_one_trains_the_next_is_not_started_and_follows_when_it_ends(
    parts: Parts, runs: RunsInMemory, world: World
) -> None:
    round_ = _round(parts, world)
    assert work.claim(parts, round_, 1) is not None
    single = _train(parts, world)

    _deliver_all(parts)
    assert _started(runs, single) == []
    assert unstarted(parts) == 0, "it waits for its turn; nobody forgot it"
    assert work.claim(parts, single, 1) is None, "not even by hand"

    with parts.catalog.write() as session:
        cancel(session, round_, "ann")
        attempts.end_asked(session, round_, 1)
    _deliver_all(parts)
    assert _started(runs, single) == [2]
    assert work.claim(parts, single, 2) is not None


def test_of_two_that_start_at_once_one_trains_and_the_other_loses_no_attempt_by_it(
    parts: Parts, runs: RunsInMemory, world: World
) -> None:
    started = [_round(parts, world), _train(parts, world)]
    _deliver_all(parts)
    gate = Barrier(2)

    def claim(job_id: str) -> bool:
        gate.wait()
        return work.claim(parts, job_id, 1) is not None

    with ThreadPoolExecutor(2) as pool:
        won = list(pool.map(claim, started))

    assert sorted(won) == [False, True]
    waits = started[won.index(False)]
    for run in list(runs.found):
        runs.goes(run, RunState.RUNNING if runs.parameters[run]["job_id"] != waits else RunState.COMPLETED)
    assert ended_runs(parts) == 0
    assert (job(parts.catalog, waits).status, job(parts.catalog, waits).current_attempt) == (JobStatus.PENDING, 2)


def test_two_trainings_of_one_experiment_cannot_run_whatever_the_code_does(parts: Parts, world: World) -> None:
    both = [_train(parts, world), _train(parts, world, epochs=2)]

    with pytest.raises(IntegrityError), parts.catalog.write() as session:
        session.execute(update(Job).where(Job.id.in_(both)).values(status=JobStatus.RUNNING))


def test_a_paused_training_gives_its_turn_away_and_waits_for_it_when_it_goes_on(
    parts: Parts, runs: RunsInMemory, world: World
) -> None:
    first, second = _train(parts, world), _train(parts, world, epochs=2)
    assert work.claim(parts, first, 1) is not None
    assert work.claim(parts, second, 1) is None
    with parts.catalog.write() as session:
        pause(session, first)
        attempts.end_asked(session, first, 1)

    _deliver_all(parts)
    assert _started(runs, second) == [2]
    assert work.claim(parts, second, 2) is not None
    with parts.catalog.write() as session:
        resume(session, first)
    _deliver_all(parts)

    assert _started(runs, first) == []
    assert job(parts.catalog, first).status == JobStatus.RESUMING


def test_the_same_request_joins_the_one_that_waits_and_publishes_if_it_says_so(parts: Parts, world: World) -> None:
    running = _train(parts, world)
    assert work.claim(parts, running, 1) is not None

    waiting = _train(parts, world)
    assert waiting != running, "labels may have come since that one gathered"
    assert _train(parts, world, publish="gate") == waiting
    assert _train(parts, world) == waiting
    assert job(parts.catalog, waiting).spec["publish"] == "gate"

    assert _train(parts, world, epochs=2) != waiting, "what somebody asked for is not dropped in silence"


def test_no_job_starts_in_an_experiment_that_is_being_deleted(postgresql_url: str) -> None:
    catalog = Catalog(postgresql_url)
    world = build(catalog)
    with catalog.read() as session:
        seen = session.get_one(Experiment, world.experiment)

    def start() -> None:
        with catalog.write() as session:
            session.execute(text("SET LOCAL lock_timeout = '200ms'"))
            start_train(session, seen, RoundSpec(), actor="ann")

    with catalog.write() as deleting:
        found = experiments.get(deleting, ORG, world.experiment, for_change=True)
        assert not experiments.open_jobs(deleting, found.id)
        found.deleted_at = deleting.scalar(select(now()))
        deleting.flush()
        with pytest.raises(OperationalError, match="lock timeout"):
            start()
    with pytest.raises(NotFoundError, match="experiment"):
        start()
    with catalog.read() as session:
        assert session.scalars(select(Job.id)).all() == []
    catalog.close()


def test_an_experiment_is_not_deleted_while_a_job_of_it_starts(postgresql_url: str) -> None:
    catalog = Catalog(postgresql_url)
    world = build(catalog)

    def delete() -> None:
        with catalog.write() as session:
            session.execute(text("SET LOCAL lock_timeout = '200ms'"))
            experiments.get(session, ORG, world.experiment, for_change=True)

    with catalog.write() as starting:
        start_train(starting, starting.get_one(Experiment, world.experiment), RoundSpec(), actor="ann")
        with pytest.raises(OperationalError, match="lock timeout"):
            delete()
    catalog.close()


def _after(parts: Parts, world: World, before: str) -> str:
    with parts.catalog.write() as session:
        experiment = session.get_one(Experiment, world.experiment)
        return start_train(session, experiment, RoundSpec(publish="none"), actor="ann", after=before).id


def _ends(parts: Parts, job_id: str, status: JobStatus) -> None:
    with parts.catalog.write() as session:
        session.get_one(Job, job_id).status = status
        attempts.end_asked(session, job_id, 1)


def test_a_job_that_comes_after_another_starts_once_that_is_done(
    parts: Parts, runs: RunsInMemory, world: World
) -> None:
    before = _train(parts, world, epochs=2)
    follower = _after(parts, world, before)
    assert follower != _train(parts, world), "what waits for nothing joins none that waits for another"
    assert job(parts.catalog, follower).message == f"Waits until job {before} is Done"

    _deliver_all(parts)
    assert (let_go(parts), _started(runs, follower)) == (0, [])

    _ends(parts, before, JobStatus.RUNNING)
    _ends(parts, before, JobStatus.DONE)
    assert (let_go(parts), let_go(parts)) == (1, 0)
    assert not parts.catalog.unit(partial(let_one_go, job_id=follower)), "another pass had found it, too"
    _deliver_all(parts)
    assert (_started(runs, follower), job(parts.catalog, follower).message) == ([1], "")


def test_a_job_fails_with_the_one_that_it_comes_after(parts: Parts, runs: RunsInMemory, world: World) -> None:
    before = _train(parts, world, epochs=2)
    follower = _after(parts, world, before)
    last = _after(parts, world, follower)
    _deliver_all(parts)
    with parts.catalog.write() as session:
        cancel(session, before, "ann")

    assert let_go(parts) + let_go(parts) == 2
    _deliver_all(parts)

    assert (job(parts.catalog, follower).status, job(parts.catalog, last).status) == (JobStatus.ERROR, JobStatus.ERROR)
    assert job(parts.catalog, last).message == f"Job {follower}, which it comes after, is Error"
    assert _started(runs, follower) == []


def test_a_follower_that_was_paused_waits_on_when_it_is_resumed(parts: Parts, runs: RunsInMemory, world: World) -> None:
    before = _train(parts, world, epochs=2)
    follower = _after(parts, world, before)
    with parts.catalog.write() as session:
        pause(session, follower)
        resume(session, follower)
    _deliver_all(parts)
    assert _started(runs, follower) == []

    _ends(parts, before, JobStatus.RUNNING)
    _ends(parts, before, JobStatus.DONE)
    let_go(parts)
    _deliver_all(parts)
    assert _started(runs, follower) == [2]


@pytest.mark.parametrize("paused", [False, True])
def test_a_batch_that_comes_after_a_training_is_of_the_version_that_is_published_then(
    parts: Parts, runs: RunsInMemory, world: World, paused: bool
) -> None:
    before = _train(parts, world, epochs=2)
    with parts.catalog.write() as session:
        experiment = session.get_one(Experiment, world.experiment)
        batch = start_batch(session, experiment, BatchSpec(), actor="ann", after=before).id
        assert session.get_one(Job, batch).spec["version_id"] is None
        made = ModelVersion(experiment_id=experiment.id, number=9, bundle_id=experiment.bundle_id, created_by="ann")
        session.add(made)
        session.flush()
        version = experiment.published_version = made.id
        if paused:
            pause(session, batch)
    _deliver_all(parts)
    _ends(parts, before, JobStatus.RUNNING)
    _ends(parts, before, JobStatus.DONE)

    assert let_go(parts) == int(not paused)
    if paused:
        with parts.catalog.write() as session:
            resume(session, batch)
    _deliver_all(parts)

    assert job(parts.catalog, batch).spec["version_id"] == version
    assert _started(runs, batch) == [2 if paused else 1]

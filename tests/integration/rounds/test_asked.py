"""Rounds and trainings that a person starts or cancels, in Prefect or over HTTP."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from sqlalchemy import delete, select, update

from configs.errors import ConflictError, NotFoundError
from configs.specs.round import RoundSpec
from configs.specs.train import TrainSpec
from configs.states import TERMINAL, AttemptState, JobStatus
from infra.adapters.catalog import jobs
from infra.adapters.catalog.tables import Attempt, Experiment, Job, Outbox, PendingImage
from infra.adapters.orchestration.base import RunState
from infra.wiring import Parts
from tasks.delivery.dispatch import deliver_due
from tasks.reconcile import rounds
from tasks.reconcile.attempts import ended_runs
from tasks.rounds.count import notify
from tasks.rounds.jobs.adopt import adopt
from tasks.rounds.jobs.cancel import cancel
from tasks.rounds.jobs.start import start_train
from tests.builders import World, build, job, notice, start_loop
from tests.runs_in_memory import RunsInMemory

RUN = "3b8e9a52-6a53-4b7b-9d6a-0c7b1f2f0001"


@pytest.fixture
def world(parts: Parts) -> World:
    """Images and an experiment."""
    return build(parts.catalog)


def _label(parts: Parts, world: World, *images: int) -> None:
    with parts.catalog.write() as session:
        notify(session, world.dataset, [notice(world.images[image]) for image in images], "ann")


def _children(parts: Parts, loop: str) -> list[Job]:
    with parts.catalog.read() as session:
        return list(jobs.children(session, loop))


def _train(parts: Parts, world: World) -> str:
    with parts.catalog.write() as session:
        return start_train(session, session.get_one(Experiment, world.experiment), RoundSpec(), actor="ann").id


def test_with_labels_pending_a_persons_run_is_the_loops_next_round_and_is_started_once(
    parts: Parts, runs: RunsInMemory, world: World
) -> None:
    loop = start_loop(parts.catalog, world, round_size=5)
    _label(parts, world, 0)

    found = adopt(parts, RUN, world.experiment)

    assert job(parts.catalog, found).parent_id == loop
    deliver_due(parts)
    assert runs.found == {}, "the run that adopted it is the one"
    assert adopt(parts, RUN, world.experiment) == found, "a repeat of the run finds its round"
    with pytest.raises(ConflictError, match=r"round 1 .* is Pending"):
        adopt(parts, "another-run", "liver")


def test_a_persons_run_that_dies_before_its_claim_is_followed_by_the_next_attempt(
    parts: Parts, runs: RunsInMemory, world: World
) -> None:
    found = adopt(parts, RUN, world.experiment)
    runs.goes(RUN, RunState.CRASHED)

    assert ended_runs(parts) == 1
    with parts.catalog.write() as session:
        session.execute(update(Outbox).values(due_at=0.0))
    deliver_due(parts)

    assert list(runs.parameters.values()) == [{"job_id": found, "attempt": 2}]


def test_without_labels_pending_a_persons_run_trains_on_what_there_is(parts: Parts, world: World) -> None:
    start_loop(parts.catalog, world)

    assert job(parts.catalog, adopt(parts, RUN, "liver")).parent_id is None


def test_a_training_by_itself_leaves_the_loop_its_labels(parts: Parts, world: World) -> None:
    loop = start_loop(parts.catalog, world, round_size=5)
    _label(parts, world, 0)

    found = job(parts.catalog, adopt(parts, RUN, "liver", reason="to compare", of_loop=False))

    assert (found.parent_id, found.description) == (None, "to compare")
    assert job(parts.catalog, loop).pending == 1


def test_a_persons_round_trains_as_its_loop_does_unless_the_person_says_how(parts: Parts, world: World) -> None:
    loop = start_loop(parts.catalog, world, round_size=5)
    with parts.catalog.write() as session:
        running = session.get_one(Job, loop)
        running.spec = {**running.spec, "train_spec": {"epochs": 7}}
    _label(parts, world, 0)

    assert job(parts.catalog, adopt(parts, RUN, "liver", publish="review")).spec["train"]["epochs"] == 7
    with parts.catalog.write() as session:
        cancel(session, _children(parts, loop)[0].id, "ann")
    other = job(parts.catalog, adopt(parts, RUN[:-1] + "2", "liver", train=TrainSpec(epochs=3)))
    assert (other.spec["train"]["epochs"], other.spec["publish"]) == (3, "gate")


def test_two_persons_at_once_start_one_training(parts: Parts, world: World) -> None:
    gate = Barrier(2)

    def run(number: int) -> str:
        gate.wait()
        try:
            return adopt(parts, f"run-{number}", world.experiment)
        except ConflictError as error:
            return str(error)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(run, range(2)))

    with parts.catalog.read() as session:
        assert len(session.scalars(select(Job.id).where(Job.status.not_in(TERMINAL))).all()) == 1


def test_an_experiment_that_is_not_there_is_named(parts: Parts, world: World) -> None:
    assert world.experiment
    with pytest.raises(NotFoundError, match="Did you mean 'liver'"):
        adopt(parts, RUN, "livr")


def test_a_training_that_waits_is_returned_again_but_a_loops_round_is_not_it(parts: Parts, world: World) -> None:
    loop = start_loop(parts.catalog, world, round_size=1)
    _label(parts, world, 0)
    (round_,) = _children(parts, loop)

    first = _train(parts, world)

    assert first != round_.id
    assert _train(parts, world) == first


def test_a_round_cancelled_before_it_began_leaves_its_labels_to_the_next(parts: Parts, world: World) -> None:
    loop = start_loop(parts.catalog, world, round_size=1)
    _label(parts, world, 0)
    (round_,) = _children(parts, loop)

    with parts.catalog.write() as session:
        cancel(session, round_.id, "ann")

    assert [each.status for each in _children(parts, loop)] == [JobStatus.CANCELED, JobStatus.PENDING]
    assert rounds.rounds_due(parts) == 0, "the unit that cancels opens it, not the safety net"


def test_cancelling_a_loop_cancels_its_waiting_round_and_opens_none(parts: Parts, world: World) -> None:
    loop = start_loop(parts.catalog, world, round_size=1)
    _label(parts, world, 0)

    with parts.catalog.write() as session:
        cancel(session, loop, "ann")

    (round_,) = _children(parts, loop)
    assert (job(parts.catalog, loop).status, round_.status) == (JobStatus.CANCELED, JobStatus.CANCELED)
    with parts.catalog.read() as session:
        assert session.get_one(Attempt, (round_.id, 1)).state == AttemptState.ENDED


def test_labels_that_a_cancelled_round_had_taken_are_counted_again_when_a_person_asks(
    parts: Parts, world: World
) -> None:
    loop = start_loop(parts.catalog, world, round_size=2)
    _label(parts, world, 0, 1)
    (round_,) = _children(parts, loop)
    with parts.catalog.write() as session:
        session.execute(delete(PendingImage))
        session.execute(update(Job).where(Job.id == loop).values(pending=0))
        session.execute(update(Job).where(Job.id == round_.id).values(to_seq=2))
        cancel(session, round_.id, "ann")

    found = adopt(parts, RUN, "liver")

    assert job(parts.catalog, found).parent_id == loop

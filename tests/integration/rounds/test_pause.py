"""A paused training leaves with what it has and comes back; a paused loop starts no round and goes on counting."""

from collections.abc import Mapping
from threading import Event

import pytest
from sqlalchemy import select, update

from configs.errors import InvalidRequestError, SupersededError
from configs.settings import Settings
from configs.specs.annotation import PublishPolicy
from configs.specs.round import RoundSpec, SpecChange
from configs.specs.train import TrainSpec
from configs.states import AttemptState, JobStatus
from infra.adapters.catalog import jobs
from infra.adapters.catalog.tables import Attempt, Bundle, Experiment, Job, Outbox, StepMark
from infra.adapters.orchestration.base import RunState
from infra.wiring import Parts
from tasks.delivery.dispatch import deliver_due
from tasks.reconcile.attempts import asked_to_end
from tasks.rounds.count import notify
from tasks.rounds.jobs import attempts
from tasks.rounds.jobs.cancel import cancel
from tasks.rounds.jobs.pause import pause, resume
from tasks.rounds.jobs.start import start_train
from tasks.rounds.steps import work
from tests.builders import World, build, job, notice, start_loop
from tests.runs_in_memory import RunsInMemory


@pytest.fixture
def world(parts: Parts) -> World:
    """Images and an experiment."""
    return build(parts.catalog)


@pytest.fixture
def training(parts: Parts, world: World) -> str:
    """A train job that waits."""
    with parts.catalog.write() as session:
        return start_train(session, session.get_one(Experiment, world.experiment), RoundSpec(), actor="ann").id


def _claimed(parts: Parts, job_id: str, n: int = 1) -> work.Claim:
    claim = work.claim(parts, job_id, n)
    assert claim is not None
    return claim


def _pause(parts: Parts, job_id: str) -> JobStatus:
    with parts.catalog.write() as session:
        return JobStatus(pause(session, job_id).status)


def _resume(parts: Parts, job_id: str, *, round_now: bool = False) -> str:
    with parts.catalog.write() as session:
        return resume(session, job_id, round_now=round_now)


def _deliver_all(parts: Parts) -> None:
    with parts.catalog.write() as session:
        session.execute(update(Outbox).values(due_at=0.0))
    deliver_due(parts)


def test_a_training_that_waits_is_paused_at_once_and_its_run_is_taken_back(
    parts: Parts, runs: RunsInMemory, training: str
) -> None:
    deliver_due(parts)
    (run,) = runs.found

    assert _pause(parts, training) == JobStatus.PAUSED

    _deliver_all(parts)
    assert runs.found[run].state == RunState.CANCELLING
    assert work.claim(parts, training, 1) is None, "a run that starts all the same finds nothing to do"


def test_a_training_that_nobody_was_asked_to_start_is_not_started_while_it_is_paused(
    parts: Parts, runs: RunsInMemory, training: str
) -> None:
    _pause(parts, training)

    _deliver_all(parts)

    assert runs.found == {}


def test_a_training_that_runs_is_asked_to_leave_and_is_paused_once_it_has(parts: Parts, training: str) -> None:
    hurried = Parts(Settings(**{**parts.settings.model_dump(), "attempt_renew_s": 0.05}))
    held = _claimed(parts, training)
    asked, killed = Event(), Event()

    def train() -> None:
        with work.Lease(hurried, held) as lease, lease.calls(killed.set, on_pause=asked.set):
            assert _pause(parts, training) == JobStatus.PAUSING
            assert asked.wait(10)
            with parts.catalog.write() as session:
                attempts.fence(session, training, 1, pausing=True)
                with pytest.raises(SupersededError):
                    attempts.fence(session, training, 1)

    with pytest.raises(SupersededError, match="is paused"):
        train()
    hurried.close()
    with parts.catalog.write() as session:
        attempts.end_asked(session, training, 1)

    assert not killed.is_set(), "a checkpoint is worth waiting for"
    assert job(parts.catalog, training).status == JobStatus.PAUSED


def test_a_resumed_training_is_the_next_attempt(parts: Parts, runs: RunsInMemory, training: str) -> None:
    _claimed(parts, training)
    _pause(parts, training)
    with parts.catalog.write() as session:
        attempts.end_asked(session, training, 1)

    assert _resume(parts, training).endswith("is Resuming")

    _deliver_all(parts)
    assert {"job_id": training, "attempt": 2} in runs.parameters.values()
    _claimed(parts, training, 2)
    assert job(parts.catalog, training).status == JobStatus.RUNNING


def test_pausing_again_and_again_uses_up_no_attempt(parts: Parts, training: str) -> None:
    for n in range(1, attempts.WITHOUT_PROGRESS + 3):
        _claimed(parts, training, n)
        _pause(parts, training)
        with parts.catalog.write() as session:
            attempts.end_asked(session, training, n)
        _resume(parts, training)
    last = attempts.WITHOUT_PROGRESS + 3
    _claimed(parts, training, last)

    with parts.catalog.write() as session:
        attempts.lose(session, training, last, "its host went away")

    assert job(parts.catalog, training).status == JobStatus.RUNNING
    assert job(parts.catalog, training).current_attempt == last + 1


@pytest.mark.parametrize("way_out", [attempts.lose, attempts.fail])
def test_a_training_that_fails_while_it_is_pausing_is_paused(
    parts: Parts, training: str, way_out: attempts.Leaving
) -> None:
    _claimed(parts, training)
    _pause(parts, training)

    with parts.catalog.write() as session:
        way_out(session, training, 1, "the disk is full")

    assert job(parts.catalog, training).status == JobStatus.PAUSED
    with parts.catalog.read() as session:
        assert "disk" in session.get_one(Attempt, (training, 1)).error


def test_a_training_whose_process_died_while_it_was_pausing_is_paused(parts: Parts, training: str) -> None:
    _claimed(parts, training)
    _pause(parts, training)
    with parts.catalog.write() as session:
        session.execute(update(Attempt).values(lease_until=0.0))

    assert asked_to_end(parts) == 1

    assert job(parts.catalog, training).status == JobStatus.PAUSED
    _resume(parts, training)
    _claimed(parts, training, 2)


@pytest.mark.parametrize("waits", [True, False])
def test_a_paused_training_can_be_cancelled(parts: Parts, training: str, *, waits: bool) -> None:
    if not waits:
        _claimed(parts, training)
    _pause(parts, training)

    with parts.catalog.write() as session:
        cancel(session, training, "ann")
        attempts.end_asked(session, training, 1)

    assert job(parts.catalog, training).status == JobStatus.CANCELED
    with parts.catalog.read() as session:
        assert session.get_one(Attempt, (training, 1)).state == AttemptState.ENDED


def test_what_has_ended_stays_as_it_is_and_what_is_not_paused_is_not_resumed(parts: Parts, training: str) -> None:
    with pytest.raises(InvalidRequestError, match="only one that is Paused"):
        _resume(parts, training)
    with parts.catalog.write() as session:
        for status in (JobStatus.RUNNING, JobStatus.DONE):
            session.get_one(Job, training).status = status

    assert _pause(parts, training) == JobStatus.DONE


def _change(train: Mapping[str, object], publish: PublishPolicy | None = None) -> SpecChange:
    return SpecChange(train=TrainSpec.from_request(train), publish=publish)


def _resumed_with(parts: Parts, job_id: str, change: SpecChange) -> RoundSpec:
    with parts.catalog.write() as session:
        resume(session, job_id, change=change)
    return RoundSpec.model_validate(job(parts.catalog, job_id).spec)


def test_a_training_that_has_not_begun_changes_what_is_said_and_nothing_else(parts: Parts, training: str) -> None:
    _pause(parts, training)
    first = _resumed_with(parts, training, _change({"epochs": 7, "seed": 3, "start_from": "base"}, "auto"))
    assert first == RoundSpec(publish="auto", train=TrainSpec(epochs=7, seed=3, start_from="base"))

    _pause(parts, training)
    second = _resumed_with(parts, training, _change({"learning_rate": 0.5}))
    assert second.train == TrainSpec(epochs=7, seed=3, start_from="base", learning_rate=0.5)
    assert second.publish == "auto"


def test_a_training_that_has_begun_keeps_what_its_checkpoint_depends_on_by_name(
    parts: Parts, world: World, training: str
) -> None:
    with parts.catalog.write() as session:
        bundle = session.get_one(Experiment, world.experiment).bundle_id
        session.get_one(Bundle, bundle).check = {"training_keys": ["loss#weight"]}
        session.get_one(Job, training).to_seq = 3
    _pause(parts, training)

    with pytest.raises(InvalidRequestError, match=r"has begun and keeps seed, loss#weight: leave"):
        _resumed_with(parts, training, _change({"seed": 1, "epochs": 9, "loss#weight": 2}))
    assert job(parts.catalog, training).status == JobStatus.PAUSED
    fits = {"seed": 0, "epochs": 9, "batch_size": 2, "max_minutes": 5, "learning_rate": 0.1}
    changed = _resumed_with(parts, training, _change(fits))
    assert (changed.train.epochs, changed.train.batch_size, changed.train.learning_rate) == (9, 2, 0.1)


def test_a_training_that_has_made_its_model_may_only_be_published_otherwise(parts: Parts, training: str) -> None:
    with parts.catalog.write() as session:
        session.add(StepMark(job_id=training, step="fine_tune", output="0" * 64, attempt=1))
    _pause(parts, training)

    with pytest.raises(InvalidRequestError, match="has made its model and keeps epochs"):
        _resumed_with(parts, training, _change({"epochs": 9}))
    assert _resumed_with(parts, training, _change({}, "review")).publish == "review"


def test_what_is_no_training_takes_no_other_specs(parts: Parts, world: World) -> None:
    loop = start_loop(parts.catalog, world, round_size=2)
    with pytest.raises(InvalidRequestError, match="this is one of annotation"):
        _resumed_with(parts, loop, _change({"epochs": 9}))


def _label(parts: Parts, world: World, *images: int) -> None:
    with parts.catalog.write() as session:
        notify(session, world.dataset, [notice(world.images[image]) for image in images], "ann")


def _rounds(parts: Parts, loop: str) -> list[tuple[int | None, str]]:
    with parts.catalog.read() as session:
        return [(child.round_no, child.status) for child in jobs.children(session, loop)]


def test_a_paused_loop_counts_on_and_opens_the_round_that_is_due_when_it_goes_on(parts: Parts, world: World) -> None:
    loop = start_loop(parts.catalog, world, round_size=2)
    _label(parts, world, 0, 1)
    _pause(parts, loop)
    assert _rounds(parts, loop) == [(1, JobStatus.PENDING)], "the round that is open goes on"

    _label(parts, world, 2, 3)
    with parts.catalog.write() as session:
        session.execute(update(Job).where(Job.parent_id == loop).values(status=JobStatus.DONE))
    _label(parts, world, 4)

    assert job(parts.catalog, loop).pending == 5
    assert len(_rounds(parts, loop)) == 1
    assert "round 2 starts" in _resume(parts, loop)


def test_asking_for_a_round_now_says_why_there_is_none(parts: Parts, world: World) -> None:
    loop = start_loop(parts.catalog, world, round_size=5)
    assert _resume(parts, loop, round_now=True).endswith("no round starts: no label waits")

    _label(parts, world, 0)
    assert "round 1 starts" in _resume(parts, loop, round_now=True)

    assert "round 1 is Pending, and 1 labels wait" in _resume(parts, loop, round_now=True)
    with parts.catalog.read() as session:
        assert len(session.scalars(select(Job.id).where(Job.parent_id == loop)).all()) == 1

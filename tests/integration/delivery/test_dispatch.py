"""Delivery: a flow is started once however often it is asked for, and an outage only delays."""

import pytest
from sqlalchemy import select, update

from configs.states import AttemptState, JobStatus
from infra.adapters.catalog import outbox
from infra.adapters.catalog.outbox import OutboxKind
from infra.adapters.catalog.tables import Attempt, Job, Outbox, Slot
from infra.adapters.orchestration.base import RunState
from infra.wiring import Parts
from tasks.delivery.dispatch import deliver_due
from tasks.rounds.count import notify
from tasks.rounds.jobs.cancel import cancel
from tests.builders import ORG, World, build, notice, start_loop
from tests.runs_in_memory import RunsInMemory


@pytest.fixture
def world(parts: Parts) -> World:
    return build(parts.catalog)


@pytest.fixture
def round_id(parts: Parts, world: World) -> str:
    """A round that is due, and whose start waits in the outbox."""
    loop = start_loop(parts.catalog, world, round_size=2)
    with parts.catalog.write() as session:
        notify(session, world.dataset, [notice(image) for image in world.images[:2]], "ann")
        return session.scalars(select(Job.id).where(Job.parent_id == loop)).one()


def _attempt(parts: Parts, job_id: str, n: int = 1) -> Attempt:
    with parts.catalog.read() as session:
        return session.get_one(Attempt, (job_id, n))


def _all_due(parts: Parts) -> None:
    with parts.catalog.write() as session:
        session.execute(update(Outbox).values(due_at=0.0))


def test_a_round_that_is_due_is_started_with_its_ids_and_nothing_else(
    parts: Parts, runs: RunsInMemory, round_id: str
) -> None:
    assert deliver_due(parts) == 1
    run = _attempt(parts, round_id).flow_run_id
    assert runs.parameters == {run: {"job_id": round_id, "attempt": 1}}
    assert deliver_due(parts) == 0


def test_an_entry_delivered_again_after_a_crash_starts_no_second_run(
    parts: Parts, runs: RunsInMemory, round_id: str
) -> None:
    deliver_due(parts)
    with parts.catalog.write() as session:  # the process died after the effect and before it was written down
        session.execute(update(Attempt).values(flow_run_id=None))
        session.execute(update(Outbox).values(done_at=None))
    assert deliver_due(parts) == 1
    assert list(runs.found) == [_attempt(parts, round_id).flow_run_id]


def test_while_prefect_is_away_the_entry_stays_due_and_no_attempt_is_used_up(
    parts: Parts, runs: RunsInMemory, round_id: str
) -> None:
    runs.up = False
    for _ in range(3):
        assert deliver_due(parts) == 0
        _all_due(parts)
    with parts.catalog.read() as session:
        (entry,) = session.scalars(select(Outbox))
        assert (entry.tries, entry.done_at) == (3, None)
        assert "did not answer" in entry.error
    assert _attempt(parts, round_id).state == AttemptState.QUEUED
    runs.up = True
    assert deliver_due(parts) == 1
    assert _attempt(parts, round_id).flow_run_id in runs.found


def test_one_entry_that_cannot_be_delivered_keeps_no_other_waiting(
    parts: Parts, runs: RunsInMemory, round_id: str
) -> None:
    with parts.catalog.write() as session:
        session.add(Outbox(kind=OutboxKind.START_FLOW, ref="broken", payload={"attempt": "many"}, due_at=0.0))
    assert deliver_due(parts) == 1
    assert _attempt(parts, round_id).flow_run_id in runs.found


def test_a_round_cancelled_before_it_started_is_never_started(parts: Parts, runs: RunsInMemory, round_id: str) -> None:
    with parts.catalog.write() as session:
        cancel(session, round_id, "ann")
    deliver_due(parts)
    assert _attempt(parts, round_id).flow_run_id is None
    assert [asked["job_id"] for asked in runs.parameters.values()] != [round_id], (
        "its labels wait: the next round starts"
    )


def test_cancelling_a_running_round_cancels_its_run(parts: Parts, runs: RunsInMemory, round_id: str) -> None:
    deliver_due(parts)
    run = _attempt(parts, round_id).flow_run_id or ""
    runs.goes(run, RunState.RUNNING)
    with parts.catalog.write() as session:
        session.execute(update(Attempt).values(state=AttemptState.CLAIMED))
        session.execute(update(Job).where(Job.id == round_id).values(status=JobStatus.RUNNING))
    with parts.catalog.write() as session:
        cancel(session, round_id, "ann")
    deliver_due(parts)
    assert runs.state(run) == RunState.CANCELLING


def test_a_slot_wanted_twice_gets_two_runs_and_a_slot_no_longer_wanted_none(
    parts: Parts, runs: RunsInMemory, world: World
) -> None:
    with parts.catalog.write() as session:
        slot = Slot(org=ORG, experiment_id=world.experiment)
        session.add(slot)
        session.flush()
        for _ in range(2):
            outbox.enqueue(session, OutboxKind.START_FLOW, slot.id, {"slot": True, "epoch": 0})
    assert deliver_due(parts) == 2
    assert list(runs.parameters.values()) == [{"slot_id": slot.id}] * 2
    with parts.catalog.write() as session:
        session.execute(update(Slot).values(desired=False))
        outbox.enqueue(session, OutboxKind.START_FLOW, slot.id, {"slot": True, "epoch": 0})
    assert deliver_due(parts) == 1
    assert len(runs.found) == 2

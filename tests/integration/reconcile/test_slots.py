"""Each fault of a realtime slot, made on purpose."""

import os
import platform

import pytest
from sqlalchemy import func, select, update

from configs.states import SlotState
from infra.adapters.catalog.slots import Sitter, watched_by
from infra.adapters.catalog.tables import Experiment, Outbox, Publication, Slot
from infra.adapters.catalog.tables.base import now
from infra.adapters.orchestration.base import RunState
from infra.wiring import Parts
from tasks.delivery.dispatch import deliver_due
from tasks.devices.here import born
from tasks.publishing.publish import publish_by_person
from tasks.reconcile import slots
from tasks.serving.slots import want
from tests.builders import World, add_version
from tests.runs_in_memory import RunsInMemory


@pytest.fixture
def slot_id(parts: Parts, world: World) -> str:
    """A wanted slot whose flow was started."""
    with parts.catalog.write() as session:
        found = want(session, session.get_one(Experiment, world.experiment), 1).id
    deliver_due(parts)
    return found


def _slot(parts: Parts, slot_id: str) -> Slot:
    with parts.catalog.read() as session:
        return session.get_one(Slot, slot_id)


def _set(parts: Parts, **values: object) -> None:
    with parts.catalog.write() as session:
        session.execute(update(Slot).values(**values))


def _held(parts: Parts, lease_s: float = 60.0) -> None:
    _set(parts, state=SlotState.READY, holder="process", lease_until=now() + lease_s, endpoint="http://127.0.0.1:1")


def _watched(parts: Parts, slot_id: str, run: str, pid: int, began: str) -> None:
    with parts.catalog.write() as session:
        watched_by(session, slot_id, run, Sitter(platform.node(), pid, began))


def _starts_waiting(parts: Parts) -> int:
    with parts.catalog.read() as session:
        waiting = select(func.count()).where(Outbox.kind == "start_flow", Outbox.done_at.is_(None))
        return session.scalar(waiting) or 0


def test_a_slot_that_is_starting_or_serving_is_left_alone(parts: Parts, runs: RunsInMemory, slot_id: str) -> None:
    run = _slot(parts, slot_id).flow_run_id or ""
    for state in (RunState.SCHEDULED, RunState.PENDING, RunState.RUNNING):
        runs.goes(run, state)
        assert slots.slots_unwatched(parts) == 0
    _held(parts)
    assert slots.slots_lost(parts) == 0
    assert slots.slots_unwatched(parts) == 0


def test_a_slot_not_heard_of_in_time_is_lost(parts: Parts, slot_id: str) -> None:
    _held(parts, lease_s=-1)
    assert slots.slots_lost(parts) == 1
    assert (_slot(parts, slot_id).state, _slot(parts, slot_id).holder) == (SlotState.LOST, None)
    assert slots.slots_lost(parts) == 0


@pytest.mark.parametrize("held", [True, False])
def test_a_slot_whose_run_is_dead_gets_a_new_one_which_adopts_it_or_starts_it(
    parts: Parts, runs: RunsInMemory, slot_id: str, held: bool
) -> None:
    if held:
        _held(parts)
    before = _slot(parts, slot_id).flow_run_id or ""
    runs.goes(before, RunState.CRASHED, since_s=1)
    assert slots.slots_unwatched(parts) == 0, "not more often than every ten seconds"
    runs.goes(before, RunState.CRASHED, since_s=slots.RESTART_S + 1)
    assert slots.slots_unwatched(parts) == 1
    assert slots.slots_unwatched(parts) == 0, "the start waits in the outbox"
    deliver_due(parts)
    assert _slot(parts, slot_id).flow_run_id != before


def test_a_run_that_is_gone_is_replaced(parts: Parts, runs: RunsInMemory, slot_id: str) -> None:
    runs.found.clear()
    assert slots.slots_unwatched(parts) == 1
    assert _slot(parts, slot_id).desired


def test_a_run_that_says_running_and_holds_nothing_for_long_is_written_off(
    parts: Parts, runs: RunsInMemory, slot_id: str
) -> None:
    run = _slot(parts, slot_id).flow_run_id or ""
    runs.goes(run, RunState.RUNNING, since_s=3600)
    _held(parts, lease_s=-5)
    slots.slots_lost(parts)
    assert slots.slots_unwatched(parts) == 0, "its babysitter may be about to start it again"
    _set(parts, lease_until=now() - slots.SILENT_S - 1)
    assert slots.slots_unwatched(parts) == 1
    assert runs.state(run) == RunState.CRASHED
    assert _starts_waiting(parts) == 1


@pytest.mark.parametrize("held", [True, False])
def test_a_run_whose_process_died_with_its_worker_is_followed_by_another_though_prefect_believes_in_it(
    parts: Parts, runs: RunsInMemory, slot_id: str, held: bool
) -> None:
    run = _slot(parts, slot_id).flow_run_id or ""
    runs.goes(run, RunState.RUNNING)
    if held:
        _held(parts)
    _watched(parts, slot_id, run, os.getpid(), born(os.getpid()))
    assert slots.slots_unwatched(parts) == 0
    _watched(parts, slot_id, run, os.getpid(), "the process that had this number before")

    assert slots.slots_unwatched(parts) == 1
    assert runs.state(run) == RunState.CRASHED
    assert _starts_waiting(parts) == 1
    deliver_due(parts)
    runs.goes(_slot(parts, slot_id).flow_run_id or "", RunState.RUNNING)
    assert slots.slots_unwatched(parts) == 0, "the next run's process is another"


def test_a_run_cancelled_in_prefect_whose_process_died_before_it_heard_switches_its_slot_off(
    parts: Parts, runs: RunsInMemory, slot_id: str
) -> None:
    run = _slot(parts, slot_id).flow_run_id or ""
    runs.goes(run, RunState.CANCELLING)
    _watched(parts, slot_id, run, os.getpid(), "the process that had this number before")

    assert slots.slots_unwatched(parts) == 1
    assert runs.state(run) == RunState.CANCELLED
    assert (_slot(parts, slot_id).desired, _starts_waiting(parts)) == (False, 0)


def test_a_run_that_noted_its_process_before_its_start_was_noted_keeps_it(
    parts: Parts, runs: RunsInMemory, slot_id: str
) -> None:
    run = _slot(parts, slot_id).flow_run_id or ""
    _watched(parts, slot_id, run, 17, "born")
    with parts.catalog.write() as session:
        watched_by(session, slot_id, run)
    assert _slot(parts, slot_id).sitter_pid == 17
    assert runs.found


def test_a_run_cancelled_in_prefect_switches_its_slot_off_though_the_hook_was_lost(
    parts: Parts, runs: RunsInMemory, slot_id: str
) -> None:
    runs.goes(_slot(parts, slot_id).flow_run_id or "", RunState.CANCELLED, since_s=slots.RESTART_S + 1)
    assert slots.slots_unwatched(parts) == 1
    assert not _slot(parts, slot_id).desired
    assert _starts_waiting(parts) == 0


def test_a_slot_not_wanted_and_not_held_is_stopped(parts: Parts, slot_id: str) -> None:
    _held(parts)
    _set(parts, desired=False)
    assert slots.slots_off(parts) == 0, "it drains"
    _set(parts, lease_until=now() - 1)
    assert slots.slots_off(parts) == 1
    assert _slot(parts, slot_id).state == SlotState.STOPPED
    assert slots.slots_off(parts) == 0


@pytest.mark.usefixtures("slot_id")
def test_a_publication_that_no_slot_can_serve_is_rolled_back_once(parts: Parts, world: World) -> None:
    version = add_version(parts.catalog, world, 1)
    with parts.catalog.write() as session:
        seq = publish_by_person(
            session, world.experiment, version, expected=world.version, actor="eve", reason="better"
        ).seq
    _set(parts, failed_seq=seq - 1)
    assert slots.publications_failed(parts) == 0
    _set(parts, failed_seq=seq)
    assert slots.publications_failed(parts) == 1
    assert slots.publications_failed(parts) == 0
    with parts.catalog.read() as session:
        experiment = session.get_one(Experiment, world.experiment)
        newest = session.scalars(select(Publication).where(Publication.seq == experiment.published_seq)).one()
    assert (experiment.published_version, newest.by) == (world.version, slots.SYSTEM)

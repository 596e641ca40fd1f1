"""A clock that jumps: no lease lasts for ever by it, none that is renewed is lost, and no delivery waits for it."""

import os
import subprocess
from collections.abc import Iterator

import pytest
from sqlalchemy import select

from configs.states import AttemptState, SlotState
from infra.adapters.catalog import loops, outbox, slots
from infra.adapters.catalog.outbox import OutboxKind
from infra.adapters.catalog.slots import SlotClaimant
from infra.adapters.catalog.tables import Attempt, BearerToken, Dataset, DeviceClaim, Outbox, Slot
from infra.adapters.catalog.tables.base import now
from infra.services import people
from infra.services.callers import Role
from infra.wiring import Parts
from tasks.delivery.dispatch import FLOWS, deliver_due
from tasks.devices import claims
from tasks.devices.here import processor
from tasks.reconcile import attempts, clock
from tasks.reconcile.loop import LEASE_S, Reconciler
from tasks.rounds.jobs.attempts import renew
from tasks.rounds.steps import work
from tasks.selection.next_image import next_image
from tests.builders import ORG, World
from tests.clock import Clock
from tests.integration.reconcile.conftest import Round
from tests.processes import end
from tests.runs_in_memory import RunsInMemory

YEAR = 365 * 24 * 3600.0
HOUR = 3600.0


@pytest.fixture
def wall(parts: Parts) -> Clock:
    """The catalog's clock."""
    return Clock(parts.catalog)


@pytest.fixture
def stranger() -> Iterator["subprocess.Popen[bytes]"]:
    """A process that nobody here started for a round."""
    process = subprocess.Popen(["sleep", "600"], start_new_session=True)
    yield process
    end(process)


def test_after_the_clock_was_set_back_nothing_waits_for_the_time_that_it_showed(
    parts: Parts, wall: Clock, world: World, round_: Round
) -> None:
    wall.jump(10 * YEAR)
    _write_every_time(parts, world)
    round_.claim()
    wall.jump(-10 * YEAR)

    assert clock.set_back(parts) == 9

    with parts.catalog.read() as session:
        ahead = {
            column.class_.__tablename__: max(seconds or 0.0 for seconds in session.scalars(select(column - now())))
            for column in (
                Attempt.lease_until,
                Slot.lease_until,
                DeviceClaim.lease_until,
                Outbox.due_at,
                BearerToken.until,
                Dataset.synced_at,
            )
        }
    assert ahead["attempt"] <= parts.settings.attempt_lease_s
    assert ahead["slot"] <= parts.settings.slot_lease_s
    assert ahead["device_claim"] <= 60
    assert ahead["outbox"] <= outbox.LONGEST_DELAY_S
    assert ahead["bearer_token"] <= 24 * HOUR
    assert ahead["dataset"] <= 0
    assert clock.set_back(parts) == 0


def _write_every_time(parts: Parts, world: World) -> None:
    key = people.create_key(parts, people.operator(ORG), name="ann", role=Role.ANNOTATOR)
    people.login(parts, key.secret)
    who = claims.Claimant("holder", "host", os.getpid(), "then", 60.0)
    with parts.catalog.write() as session:
        outbox.enqueue(session, OutboxKind.TRACKING, "a job")
        outbox.enqueue(session, OutboxKind.TRACKING, "another")
        assert outbox.claim(session, [OutboxKind.TRACKING])
        session.add(Slot(org=ORG, experiment_id=world.experiment, desired_until=now() + 600))
        session.flush()
        slot = session.scalars(select(Slot.id)).one()
        assert slots.claim(session, slot, SlotClaimant("holder", "host", 1, "token"), 15.0)
        claims.claim(session, who, claims.Need("live"), [processor()])
        session.get_one(Dataset, world.dataset).synced_at = session.scalar(select(now()))


def test_a_loop_s_lease_of_a_clock_that_was_set_back_is_over(parts: Parts, wall: Clock) -> None:
    wall.jump(10 * YEAR)
    with parts.catalog.write() as session:
        assert loops.hold(session, "reconciler", "a process that is dead now", 15)
        assert loops.is_time(session, "files", 24 * HOUR)
    wall.jump(-10 * YEAR)
    with parts.catalog.write() as session:
        assert loops.hold(session, "reconciler", "another", 15)
        assert loops.is_time(session, "files", 24 * HOUR)
        assert not loops.is_time(session, "files", 24 * HOUR)


def test_a_killed_reconciler_is_followed_by_another_when_its_lease_is_over(parts: Parts, wall: Clock) -> None:
    killed, other = Reconciler(parts), Reconciler(parts)
    assert killed.step()
    assert not other.step()
    wall.jump(LEASE_S + parts.settings.reconcile_s + 1)
    assert other.step()
    assert not killed.step()


def test_a_dead_attempt_is_missed_although_the_clock_was_set_back(parts: Parts, wall: Clock, round_: Round) -> None:
    wall.jump(YEAR)
    round_.claim(host="another-host")
    wall.jump(-YEAR)
    reconciler = Reconciler(parts)
    reconciler.step()
    assert round_.attempt().state == AttemptState.CLAIMED
    wall.jump(parts.settings.attempt_lease_s + 1)
    reconciler.step()
    assert round_.attempt().state == AttemptState.LOST
    assert round_.job().current_attempt == 2


@pytest.mark.parametrize("seconds", [YEAR, -YEAR, 8 * HOUR, -8 * HOUR])
def test_who_lives_keeps_its_attempt_and_its_slot_whatever_the_clock_does(
    parts: Parts, wall: Clock, world: World, round_: Round, seconds: float
) -> None:
    held = work.claim(parts, round_.id, 1)
    assert held is not None
    with parts.catalog.write() as session:
        session.add(Slot(org=ORG, experiment_id=world.experiment))
        session.flush()
        slot = session.scalars(select(Slot.id)).one()
        hold = slots.claim(session, slot, SlotClaimant("holder", "host", 1, "token"), 15.0)
        assert hold is not None
    reconciler = Reconciler(parts)
    wall.jump(seconds)
    reconciler._clocks._apart -= seconds  # this process's clock stood still

    reconciler.step()
    with parts.catalog.write() as session:
        renewed = renew(session, round_.id, 1, holder=held.holder, lease_s=60)
        beat = slots.renew(session, hold, 15.0)
    reconciler._clocks._trust_at = 0.0
    reconciler.step()

    assert renewed == "Running"
    assert beat is not None
    assert round_.attempt().state == AttemptState.CLAIMED
    with parts.catalog.read() as session:
        assert session.get_one(Slot, slot).state == SlotState.STARTING
        assert slots.is_held(session, slot)


def test_what_waits_for_prefect_is_delivered_although_the_clock_was_set_back(
    parts: Parts, wall: Clock, runs: RunsInMemory, round_: Round
) -> None:
    runs.up = False
    wall.jump(YEAR)
    with parts.catalog.write() as session:
        session.get_one(Attempt, (round_.id, 1)).flow_run_id = None
        outbox.enqueue(session, OutboxKind.START_FLOW, round_.id, {"attempt": 1})
    deliver_due(parts, FLOWS)
    wall.jump(-YEAR)
    runs.up = True
    assert deliver_due(parts, FLOWS) == 0
    clock.set_back(parts)
    wall.jump(outbox.LONGEST_DELAY_S + 1)
    assert deliver_due(parts, FLOWS) == 1
    assert round_.attempt().flow_run_id is not None


def test_an_image_of_a_clock_that_was_wrong_is_free_again_within_a_lease(
    parts: Parts, wall: Clock, world: World
) -> None:
    wall.jump(YEAR)
    with parts.catalog.write() as session:
        taken = {next_image(session, world.dataset, holder="ann").id for _ in world.images}
    wall.jump(-YEAR)
    Reconciler(parts).step()
    wall.jump(HOUR + 1)
    with parts.catalog.write() as session:
        assert next_image(session, world.dataset, holder="bob").id in taken


def test_no_stranger_is_killed_for_a_dead_attempt_whatever_the_clock_says(
    parts: Parts, wall: Clock, round_: Round, stranger: "subprocess.Popen[bytes]"
) -> None:
    wall.jump(-YEAR)  # by the clock, this process began long before the claim was made
    round_.claim(lease_s=-1, pid=stranger.pid)
    with parts.catalog.write() as session:
        session.get_one(Attempt, (round_.id, 1)).born = "the process that had this number then"
    assert attempts.leases_over(parts) == 1
    assert stranger.poll() is None

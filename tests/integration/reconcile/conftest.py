"""A loop with a round whose start was delivered, and ways to make time pass."""

import os
import platform
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from sqlalchemy import select, update

from configs.states import AttemptState, JobStatus
from infra.adapters.catalog.tables import Attempt, Job, LoopLease
from infra.adapters.catalog.tables.base import now
from infra.wiring import Parts
from tasks.delivery.dispatch import deliver_due
from tasks.devices.here import born
from tasks.rounds.count import notify
from tests.builders import World, build, notice, start_loop


@dataclass(frozen=True)
class Round:
    """A round of a loop, its first attempt's run scheduled."""

    parts: Parts
    loop_id: str
    id: str

    def job(self) -> Job:
        """Read the round."""
        with self.parts.catalog.read() as session:
            return session.get_one(Job, self.id)

    def attempt(self, n: int = 1) -> Attempt:
        """Read an attempt."""
        with self.parts.catalog.read() as session:
            return session.get_one(Attempt, (self.id, n))

    def run(self, n: int = 1) -> str:
        """Return the id of an attempt's run."""
        return self.attempt(n).flow_run_id or ""

    def claim(self, *, lease_s: float = 60.0, host: str | None = None, pid: int | None = None) -> None:
        """Let a process of this machine hold attempt 1."""
        values = {
            "state": AttemptState.CLAIMED,
            "holder": "holder",
            "lease_until": now() + lease_s,
            "claimed_at": now(),
            "host": host or platform.node(),
            "pid": pid or os.getpid(),
            "born": born(pid or os.getpid()) or "a process that is gone",
        }
        with self.parts.catalog.write() as session:
            session.execute(update(Attempt).where(Attempt.job_id == self.id, Attempt.n == 1).values(values))
            session.execute(update(Job).where(Job.id == self.id).values(status=JobStatus.RUNNING))

    def becomes(self, status: JobStatus) -> None:
        """Set the round's status, whatever it was."""
        with self.parts.catalog.write() as session:
            session.execute(update(Job).where(Job.id == self.id).values(status=status))


@pytest.fixture
def world(parts: Parts) -> World:
    """Images and an experiment."""
    return build(parts.catalog)


@pytest.fixture
def round_(parts: Parts, world: World) -> Round:
    """A round that is due and whose start was delivered."""
    loop = start_loop(parts.catalog, world, round_size=2)
    with parts.catalog.write() as session:
        notify(session, world.dataset, [notice(image) for image in world.images[:2]], "ann")
        found = session.scalars(select(Job.id).where(Job.parent_id == loop)).one()
    deliver_due(parts)
    return Round(parts, loop, found)


@pytest.fixture
def later(parts: Parts) -> Callable[[], None]:
    """Let what is done every so often be due again."""

    def forget() -> None:
        with parts.catalog.write() as session:
            session.execute(update(LoopLease).values(until=0.0))

    return forget

"""Whatever is asked of a training and its loop, in whatever order: only allowed changes, and nothing leaves an end."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from sqlalchemy import select
from sqlalchemy.orm import Session

from configs.errors import InvalidRequestError, SupersededError
from configs.states import JOB_CHANGES, TERMINAL, AttemptState, JobStatus
from infra.adapters.catalog import jobs
from infra.adapters.catalog.tables import Attempt, Job, Outbox
from tasks.devices.claims import Claimant
from tasks.rounds.count import notify
from tasks.rounds.jobs import attempts
from tasks.rounds.jobs.cancel import cancel
from tasks.rounds.jobs.pause import pause, resume
from tests.builders import build, notice, start_loop
from tests.property.quick import Quick

OPEN = frozenset(JobStatus) - TERMINAL
HELD = {JobStatus.RUNNING, JobStatus.PAUSING, JobStatus.CANCELING}


class Trainings(RuleBasedStateMachine):
    """A loop and its rounds, of which people, flows and the reconciler ask what they like."""

    def __init__(self) -> None:
        super().__init__()
        self.catalog = Quick.catalog()
        self.world = build(self.catalog, images=30)
        self.loop = start_loop(self.catalog, self.world, round_size=1, max_retries=2)
        self.labels = 0
        self.seen: dict[str, JobStatus] = {}
        self._label()

    def teardown(self) -> None:
        self.catalog.close()

    @contextmanager
    def _unit(self) -> Iterator[Session]:
        """Do something, whose refusal is an answer too: then nothing changes."""
        before = self._statuses()
        try:
            with self.catalog.write() as session:
                yield session
        except (InvalidRequestError, SupersededError):
            assert self._statuses() == before

    def _statuses(self) -> dict[str, JobStatus]:
        with self.catalog.read() as session:
            return {row.id: JobStatus(row.status) for row in session.scalars(select(Job))}

    def _newest(self) -> str:
        with self.catalog.read() as session:
            found = session.scalars(select(Job.id).where(Job.parent_id == self.loop).order_by(Job.round_no)).all()
        return found[-1] if found else self.loop

    def _attempt(self) -> int:
        with self.catalog.read() as session:
            return jobs.get(session, self._newest()).current_attempt

    @rule()
    def label(self) -> None:
        self._label()

    def _label(self) -> None:
        image = self.world.images[self.labels % len(self.world.images)]
        self.labels += 1
        with self.catalog.write() as session:
            notify(session, self.world.dataset, [notice(image, fingerprint=str(self.labels))], "ann")

    @rule(of_loop=st.booleans())
    def pause(self, of_loop: bool) -> None:
        with self._unit() as session:
            pause(session, self.loop if of_loop else self._newest())

    @rule(of_loop=st.booleans(), now=st.booleans())
    def resume(self, of_loop: bool, now: bool) -> None:
        with self._unit() as session:
            resume(session, self.loop if of_loop else self._newest(), round_now=now and of_loop)

    @rule()
    def cancel_the_round(self) -> None:
        with self._unit() as session:
            cancel(session, self._newest(), "ann")

    @rule()
    def cancel_the_loop(self) -> None:
        if self.labels % 5 == 0:  # seldom, since little happens after it
            with self._unit() as session:
                cancel(session, self.loop, "ann")

    @rule(late=st.integers(0, 1))
    def claim(self, late: int) -> None:
        job, n = self._newest(), max(1, self._attempt() - late)
        with self._unit() as session:
            current = jobs.attempt(session, job, n)
            free = current is not None and current.state == AttemptState.QUEUED
            taken = attempts.claim(session, job, n, Claimant("h", "here", 1, born="", lease_s=60))
            assert not taken or (free and n == jobs.get(session, job).current_attempt)

    @rule(late=st.integers(0, 1))
    def lose(self, late: int) -> None:
        with self._unit() as session:
            attempts.lose(session, self._newest(), max(1, self._attempt() - late), "it was killed")

    @rule()
    def fail(self) -> None:
        with self._unit() as session:
            attempts.fail(session, self._newest(), self._attempt(), "a bundle's error")

    @rule()
    def leave(self) -> None:
        with self._unit() as session:
            attempts.end_asked(session, self._newest(), self._attempt())

    @rule(late=st.integers(0, 1))
    def get_further(self, late: int) -> None:
        with self._unit() as session:
            n = max(1, self._attempt() - late)
            attempts.fence(session, self._newest(), n)
            attempts.progressed(session, self._newest(), n)

    @rule()
    def finish(self) -> None:
        with self._unit() as session:
            n = self._attempt()
            job = attempts.fence(session, self._newest(), n)
            job.status = JobStatus.DONE
            session.get_one(Attempt, (job.id, n)).state = AttemptState.ENDED

    @invariant()
    def changes_are_those_of_the_table(self) -> None:
        now = self._statuses()
        for job, before in self.seen.items():
            assert now[job] == before or now[job] in _reachable(before), f"{before} → {now[job]}"
            assert before not in TERMINAL or now[job] == before
        self.seen = now

    @invariant()
    def one_attempt_is_current_and_the_others_are_over(self) -> None:
        with self.catalog.read() as session:
            for row in session.scalars(select(Job).where(Job.action == "train")):
                tries = session.scalars(select(Attempt).where(Attempt.job_id == row.id).order_by(Attempt.n)).all()
                assert [each.n for each in tries] == list(range(1, len(tries) + 1))
                assert row.current_attempt == len(tries)
                over = {AttemptState.ENDED, AttemptState.LOST}
                assert {each.state for each in tries[:-1]} <= over
                assert row.status in HELD or tries[-1].state != AttemptState.CLAIMED
                assert row.status not in {JobStatus.PENDING, JobStatus.RESUMING} or tries[-1].state == "queued"
                asked = select(Outbox.payload).where(Outbox.kind == "start_flow", Outbox.ref == row.id)
                numbers = [payload["attempt"] for payload in session.scalars(asked)]
                assert len(numbers) == len(set(numbers)), "no attempt is started twice"
                assert set(numbers) == set(range(1, len(tries) + 1))

    @invariant()
    def a_loop_has_one_round_open_and_their_numbers_have_no_gap(self) -> None:
        with self.catalog.read() as session:
            rounds = session.scalars(select(Job).where(Job.parent_id == self.loop).order_by(Job.round_no)).all()
            assert [each.round_no for each in rounds] == list(range(1, len(rounds) + 1))
            assert sum(each.status in OPEN for each in rounds) <= 1


def _reachable(before: JobStatus) -> set[JobStatus]:
    """Return what may come of a status in one unit, which may make two steps (a lost attempt is queued again)."""
    return set(JOB_CHANGES[before])


def test_whatever_is_asked_in_whatever_order_the_statuses_follow_the_table(
    sqlite_template: Path, tmp_path: Path
) -> None:
    Quick.template, Quick.folder = sqlite_template, tmp_path
    run_state_machine_as_test(Trainings, settings=settings(max_examples=20, stateful_step_count=25))


@pytest.mark.parametrize("status", sorted(TERMINAL))
def test_an_end_is_reached_from_every_open_status(status: JobStatus) -> None:
    reached, found = {status}, -1
    while found != len(reached):
        found = len(reached)
        reached |= {before for before, after in JOB_CHANGES.items() if after & reached}
    assert reached >= OPEN - ({JobStatus.CANCELING, JobStatus.PAUSING} if status != JobStatus.CANCELED else set())

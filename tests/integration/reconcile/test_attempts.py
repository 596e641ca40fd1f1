"""Each fault of an attempt, made on purpose: what the reconciler does about it, and what it leaves alone."""

import subprocess
import sys
from collections.abc import Callable, Iterator

import psutil
import pytest
from sqlalchemy import select, update

from configs.states import AttemptState, JobStatus
from infra.adapters.catalog.tables import Attempt, Job, Outbox
from infra.adapters.catalog.tables.base import now
from infra.adapters.orchestration.base import RunState
from infra.wiring import Parts
from tasks.delivery.dispatch import deliver_due
from tasks.reconcile import attempts
from tests.integration.reconcile.conftest import Round
from tests.processes import wait_until
from tests.runs_in_memory import RunsInMemory

ENDED = [RunState.CRASHED, RunState.FAILED, RunState.COMPLETED]


@pytest.fixture
def sleeper() -> Iterator["subprocess.Popen[bytes]"]:
    """A process with a child, both waiting."""
    child = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'input()'])"
    process = subprocess.Popen([sys.executable, "-c", child], stdin=subprocess.PIPE)
    wait_until(lambda: bool(psutil.Process(process.pid).children()), "a child")
    yield process
    process.kill()
    process.communicate()


def _dead_pid() -> int:
    process = subprocess.Popen([sys.executable, "-c", "pass"])
    process.wait()
    return process.pid


@pytest.mark.parametrize("state", ENDED)
def test_a_run_that_ended_before_its_claim_is_followed_by_the_next_attempt(
    parts: Parts, runs: RunsInMemory, round_: Round, state: RunState
) -> None:
    runs.goes(round_.run(), state)
    assert attempts.ended_runs(parts) == 1
    assert round_.attempt(1).state == AttemptState.LOST
    assert round_.job().current_attempt == 2
    with parts.catalog.write() as session:
        session.execute(update(Outbox).values(due_at=0.0))
    deliver_due(parts)
    assert runs.parameters[round_.run(2)] == {"job_id": round_.id, "attempt": 2}
    assert attempts.ended_runs(parts) == 0


def test_a_run_that_is_gone_is_followed_by_the_next_attempt(parts: Parts, runs: RunsInMemory, round_: Round) -> None:
    runs.found.clear()
    assert attempts.ended_runs(parts) == 1
    assert round_.job().current_attempt == 2


def test_while_prefect_is_away_no_attempt_is_used_up(parts: Parts, runs: RunsInMemory, round_: Round) -> None:
    runs.up = False
    with pytest.raises(Exception, match="did not answer"):
        attempts.ended_runs(parts)
    assert round_.job().current_attempt == 1


def test_a_run_that_waits_or_is_starting_is_left_alone(parts: Parts, runs: RunsInMemory, round_: Round) -> None:
    for state in (RunState.SCHEDULED, RunState.PENDING, RunState.RUNNING):
        runs.goes(round_.run(), state, since_s=999 if state == RunState.SCHEDULED else 60)
        assert attempts.ended_runs(parts) == 0
    assert round_.attempt().state == AttemptState.QUEUED


@pytest.mark.parametrize("state", [RunState.PENDING, RunState.RUNNING])
def test_a_run_that_was_killed_on_its_way_to_the_claim_is_followed_by_the_next_attempt_and_ended(
    parts: Parts, runs: RunsInMemory, round_: Round, state: RunState
) -> None:
    first = round_.run()
    runs.goes(first, state, since_s=999)
    assert attempts.ended_runs(parts) == 1
    assert round_.job().current_attempt == 2
    assert attempts.stale_runs(parts) == 1
    assert runs.found[first].state == RunState.CANCELLING, "else it would hold its place in the pool for ever"


def test_a_claimed_attempt_whose_process_died_here_is_lost_before_its_lease_is_over(
    parts: Parts, runs: RunsInMemory, round_: Round
) -> None:
    round_.claim(pid=_dead_pid())
    runs.goes(round_.run(), RunState.CRASHED)
    assert attempts.ended_runs(parts) == 1
    assert round_.job().current_attempt == 2


def test_of_a_process_elsewhere_only_its_lease_tells(parts: Parts, runs: RunsInMemory, round_: Round) -> None:
    round_.claim(host="another-host", pid=_dead_pid())
    runs.goes(round_.run(), RunState.CRASHED)
    assert attempts.ended_runs(parts) == 0
    assert round_.attempt().state == AttemptState.CLAIMED


def test_a_run_cancelled_in_prefect_before_its_claim_cancels_the_round(
    parts: Parts, runs: RunsInMemory, round_: Round
) -> None:
    runs.goes(round_.run(), RunState.CANCELLED)
    assert attempts.ended_runs(parts) == 1
    assert round_.job().status == JobStatus.CANCELED
    assert "Prefect" in round_.job().message


def test_a_run_cancelled_in_prefect_while_it_trains_shows_at_once_and_ends_when_its_process_did(
    parts: Parts, runs: RunsInMemory, round_: Round
) -> None:
    round_.claim()
    runs.goes(round_.run(), RunState.CANCELLING)
    attempts.ended_runs(parts)
    assert round_.job().status == JobStatus.CANCELING
    runs.goes(round_.run(), RunState.CANCELLED)
    assert attempts.asked_to_end(parts) == 0, "a process still holds it"
    round_.claim(pid=_dead_pid())
    round_.becomes(JobStatus.CANCELING)
    assert attempts.ended_runs(parts) == 1
    assert round_.job().status == JobStatus.CANCELED


def test_an_attempt_not_renewed_in_time_is_lost_and_its_processes_are_ended(
    parts: Parts, round_: Round, sleeper: "subprocess.Popen[bytes]"
) -> None:
    (child,) = psutil.Process(sleeper.pid).children()
    round_.claim(lease_s=-1, pid=sleeper.pid)
    assert attempts.leases_over(parts) == 1
    assert round_.attempt(1).state == AttemptState.LOST
    assert round_.job().current_attempt == 2
    wait_until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE, "the child to end")
    wait_until(lambda: sleeper.poll() is not None, "the process to end")
    assert attempts.leases_over(parts) == 0


def test_a_later_process_with_the_same_number_is_not_touched(
    parts: Parts, round_: Round, sleeper: "subprocess.Popen[bytes]"
) -> None:
    round_.claim(lease_s=-1, pid=sleeper.pid)
    with parts.catalog.write() as session:
        session.execute(update(Attempt).values(born="an earlier process"))
    assert attempts.leases_over(parts) == 1
    assert sleeper.poll() is None


def test_an_attempt_that_is_renewed_is_left_alone(parts: Parts, round_: Round) -> None:
    round_.claim()
    assert attempts.leases_over(parts) == 0


def test_three_attempts_without_progress_end_the_round_and_its_loop_with_the_reason(
    parts: Parts, runs: RunsInMemory, round_: Round
) -> None:
    for n in (1, 2, 3):
        runs.goes(round_.run(n), RunState.CRASHED)
        attempts.ended_runs(parts)
        with parts.catalog.write() as session:
            session.execute(update(Outbox).values(due_at=0.0))
        deliver_due(parts)
    assert round_.job().status == JobStatus.ERROR
    with parts.catalog.read() as session:
        assert session.get_one(Job, round_.loop_id).status == JobStatus.ERROR


@pytest.mark.parametrize(
    ("asked", "ends"), [(JobStatus.CANCELING, JobStatus.CANCELED), (JobStatus.PAUSING, JobStatus.PAUSED)]
)
def test_a_job_asked_to_end_that_nobody_works_on_is_closed(
    parts: Parts, round_: Round, asked: JobStatus, ends: JobStatus
) -> None:
    round_.claim()
    round_.becomes(asked)
    assert attempts.asked_to_end(parts) == 0
    round_.claim(lease_s=-1)
    round_.becomes(asked)
    attempts.leases_over(parts)
    attempts.asked_to_end(parts)
    assert round_.job().status == ends


def test_a_run_whose_attempt_is_over_is_cancelled_and_then_written_off(
    parts: Parts, runs: RunsInMemory, round_: Round, later: Callable[[], None]
) -> None:
    round_.claim(lease_s=-1, host="another-host")
    attempts.leases_over(parts)
    runs.goes(round_.run(1), RunState.RUNNING)
    assert attempts.stale_runs(parts) == 1
    assert runs.state(round_.run(1)) == RunState.CANCELLING
    later()
    assert attempts.stale_runs(parts) == 0, "it gets time to end"
    runs.goes(round_.run(1), RunState.CANCELLING, since_s=attempts.ENDING_S + 1)
    later()
    assert attempts.stale_runs(parts) == 1
    assert runs.found[round_.run(1)].state.terminal


def test_an_attempt_that_nobody_was_asked_to_start_is_started(parts: Parts, runs: RunsInMemory, round_: Round) -> None:
    with parts.catalog.write() as session:
        session.execute(update(Attempt).values(flow_run_id=None))
    assert attempts.unstarted(parts) == 0, "it may be on its way"
    with parts.catalog.write() as session:
        session.execute(update(Attempt).values(created_at=now() - 3600))
    assert attempts.unstarted(parts) == 1
    assert attempts.unstarted(parts) == 0, "it waits in the outbox"
    deliver_due(parts)
    assert round_.run() in runs.found
    with parts.catalog.read() as session:
        assert session.scalars(select(Job.status).where(Job.id == round_.id)).one() == JobStatus.PENDING


@pytest.mark.parametrize(("alive", "ended"), [(True, 0), (False, 1)])
def test_the_run_of_a_finished_round_is_written_off_only_when_its_process_is_gone(
    parts: Parts, runs: RunsInMemory, round_: Round, *, alive: bool, ended: int
) -> None:
    round_.claim(pid=None if alive else _dead_pid())
    with parts.catalog.write() as session:
        session.execute(update(Attempt).values(state=AttemptState.ENDED))
    round_.becomes(JobStatus.DONE)
    runs.goes(round_.run(1), RunState.RUNNING)

    assert attempts.stale_runs(parts) == ended
    assert runs.found[round_.run(1)].state.terminal == (not alive), "while it scores images it may live on"

"""What people do in Prefect shows in the job: they cancel or delete a run, and its labels train all the same.

And a run that dies is followed by the next attempt; with our own times, since no lease has to run out for any of it.
"""

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from sqlalchemy import select

from configs.settings import Settings
from configs.states import TERMINAL, JobStatus
from infra.adapters.catalog import jobs
from infra.adapters.catalog.tables import Attempt, Job
from infra.adapters.orchestration.base import RunState
from infra.adapters.orchestration.deployments import deploy
from infra.wiring import Parts
from tasks.reconcile import loop
from tasks.rounds.count import notify, open_round_if_due
from tasks.rounds.jobs.start import count_again
from tests.builders import build, hurry, job, notice, start_loop
from tests.fixtures_prefect import PrefectServer
from tests.processes import wait_until

REPOSITORY = Path(__file__).resolve().parents[3]
_FLOW = '''
"""A round that does nothing but hold its claim, the way every round does, until it is told to end."""

import tempfile
import time

from prefect import flow

from configs.states import AttemptState, JobStatus
from infra.adapters.catalog import jobs
from tasks.rounds.jobs import attempts
from tasks.rounds.tasks import holding, parts


@flow(name="continual-learning-round")
def continual_learning_round(job_id: str, attempt: int = 1) -> None:
    """Claim, say so, wait, and end."""
    home = parts().settings.home
    with holding(job_id, attempt) as work:
        if work is None:
            return
        (home / "scratch").write_text(tempfile.gettempdir())
        (home / f"claimed-{job_id}-{attempt}").touch()
        while not (home / f"end-{job_id}").exists():
            time.sleep(0.1)
            work[1].check()
        with parts().catalog.write() as session:
            job = attempts.fence(session, job_id, attempt)
            jobs.attempt(session, job_id, attempt).state = AttemptState.ENDED
            job.status = JobStatus.DONE
'''
_ROUND_ONLY = "\n\n  - name: default"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, prefect_server: PrefectServer) -> Path:
    """A checkout whose round waits, deployed."""
    folder = tmp_path_factory.mktemp("waiting")
    (folder / "flows").mkdir()
    (folder / "flows" / "continual_learning_round.py").write_text(_FLOW)
    (folder / "infra" / "deploy").mkdir(parents=True)
    ours = (REPOSITORY / "infra" / "deploy" / "prefect.yaml").read_text()
    (folder / "infra" / "deploy" / "prefect.yaml").write_text(ours.split(_ROUND_ONLY, maxsplit=1)[0])
    deploy(prefect_server.url, prefect_server.auth, folder)
    return folder


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory, prefect_server: PrefectServer, root: Path) -> Iterator[Parts]:
    """Adapters on a real Prefect with our own times, the loops and a worker running."""
    home = tmp_path_factory.mktemp("by-hand")
    settings = Settings(home=home, prefect_api_url=prefect_server.url, prefect_auth=prefect_server.auth)
    opened, stop = Parts(settings), threading.Event()
    opened.catalog.migrate()
    loops = threading.Thread(target=loop.run, args=(opened, stop))
    loops.start()
    environment = {
        **{name: value for name, value in settings.child_environment().items() if name.startswith("TEACHBACK_")},
        "TEACHBACK_ROOT": str(root),
        "PYTHONPATH": f"{root}{os.pathsep}{REPOSITORY}",
    }
    with prefect_server.worker("rounds", root, **environment):
        yield opened
    stop.set()
    loops.join()
    opened.close()


@pytest.fixture(scope="module")
def loop_id(parts: Parts) -> str:
    """A loop whose rounds are due with every label."""
    world = build(parts.catalog)
    running = start_loop(parts.catalog, world, round_size=1, max_rounds=9)
    with parts.catalog.write() as session:
        notify(session, world.dataset, [notice(world.images[0])], "ann")
    return running


def _claimed_round(parts: Parts, loop_id: str) -> tuple[str, str]:
    """Return the loop's open round and its flow run, once a flow holds the round."""
    with parts.catalog.write() as session:
        held = jobs.locked(session, loop_id)
        count_again(session, held)
        open_round_if_due(session, held, at_least=1)
    with parts.catalog.read() as session:
        found = session.scalars(select(Job).where(Job.parent_id == loop_id, Job.status.not_in(TERMINAL))).one()
        round_id, n = found.id, found.current_attempt
    wait_until((parts.settings.home / f"claimed-{round_id}-{n}").exists, "the round to be held")
    with parts.catalog.read() as session:
        return round_id, session.get_one(Attempt, (round_id, n)).flow_run_id or ""


def test_a_round_cancelled_in_prefect_is_cancelled_within_seconds_and_its_labels_train_in_the_next(
    parts: Parts, prefect_server: PrefectServer, loop_id: str
) -> None:
    round_id, run = _claimed_round(parts, loop_id)
    with prefect_server.http() as client:
        asked = {"state": {"type": "CANCELLING", "name": "Cancelling"}}
        client.post(f"/flow_runs/{run}/set_state", json=asked).raise_for_status()
    wait_until(
        lambda: job(parts.catalog, round_id).status in {JobStatus.CANCELING, JobStatus.CANCELED},
        "the job to show it",
    )
    wait_until(lambda: job(parts.catalog, round_id).status == JobStatus.CANCELED, "the round to end")
    assert job(parts.catalog, round_id).message == "cancelled by a person, in Prefect"
    assert job(parts.catalog, loop_id).status == JobStatus.RUNNING
    ended = {RunState.CANCELLED, RunState.CRASHED}
    wait_until(lambda: prefect_server.client().state(run) in ended, "Prefect to say so")
    following, _ = _claimed_round(parts, loop_id)
    assert job(parts.catalog, following).round_no == (job(parts.catalog, round_id).round_no or 0) + 1


def test_what_a_flow_run_writes_in_passing_goes_into_the_home(parts: Parts, loop_id: str) -> None:
    _claimed_round(parts, loop_id)
    assert Path((parts.settings.home / "scratch").read_text()).parent == parts.settings.home / "work" / "tmp"


def test_a_run_deleted_in_prefect_loses_its_claim_and_the_next_attempt_starts(
    parts: Parts, prefect_server: PrefectServer, loop_id: str
) -> None:
    round_id, run = _claimed_round(parts, loop_id)
    with parts.catalog.read() as session:
        process = psutil.Process(session.get_one(Attempt, (round_id, 1)).pid)
    with prefect_server.http() as client:
        client.delete(f"/flow_runs/{run}").raise_for_status()
    wait_until(lambda: job(parts.catalog, round_id).current_attempt == 2, "the next attempt")
    hurry(parts.catalog)
    wait_until(lambda: not process.is_running() or process.status() == psutil.STATUS_ZOMBIE, "the process to end")
    _, second = _claimed_round(parts, loop_id)
    assert second != run
    assert job(parts.catalog, round_id).status == JobStatus.RUNNING


def test_a_run_whose_process_is_killed_is_followed_by_the_next_attempt_which_ends_the_round(
    parts: Parts, prefect_server: PrefectServer, loop_id: str
) -> None:
    round_id, run = _claimed_round(parts, loop_id)
    before = job(parts.catalog, round_id).current_attempt
    with parts.catalog.read() as session:
        os.kill(session.get_one(Attempt, (round_id, before)).pid or 0, signal.SIGKILL)
    wait_until(lambda: job(parts.catalog, round_id).current_attempt == before + 1, "the next attempt")
    hurry(parts.catalog)  # which waits for a minute, where two in a row were lost
    wait_until(lambda: prefect_server.client().state(run) == RunState.CRASHED, "Prefect to say so")

    (parts.settings.home / f"end-{round_id}").touch()
    wait_until(lambda: job(parts.catalog, round_id).status == JobStatus.DONE, "the next attempt to end")
    wait_until(lambda: _all_over_in_prefect(parts, round_id), "Prefect to hear of it")
    assert job(parts.catalog, round_id).current_attempt == before + 1


def _all_over_in_prefect(parts: Parts, round_id: str) -> bool:
    """Say whether Prefect knows that every run of the round is over: one that it believes in holds the pool's place."""
    with parts.catalog.read() as session:
        runs = session.scalars(select(Attempt.flow_run_id).where(Attempt.job_id == round_id)).all()
    states = [parts.orchestrator.state(run) for run in runs if run is not None]
    return all(state is None or state.terminal for state in states)

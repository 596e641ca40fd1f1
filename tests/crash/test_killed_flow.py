"""kill -9 of all that runs a round, with a real Prefect: the next attempt starts, whatever Prefect believes.

A flow that is killed alone, or cancelled by a person: `integration/orchestration/test_by_hand.py`.
"""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from sqlalchemy import select, update

from configs.settings import Settings
from configs.states import JobStatus
from infra.adapters.catalog.tables import Attempt, Job, Outbox
from infra.adapters.orchestration.deployments import deploy
from infra.wiring import Parts
from tasks.delivery.dispatch import FLOWS, deliver_due
from tasks.reconcile import loop
from tasks.rounds.count import notify
from tests.builders import build, hurry, job, notice, start_loop
from tests.fixtures_prefect import PrefectServer
from tests.processes import end, wait_until

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).resolve().parents[2]
_FLOW = '''
"""A round that does nothing but hold its claim: the first attempt for ever, the second to its end."""

import os
import time
from pathlib import Path

from prefect import flow

from configs.settings import Settings
from configs.states import AttemptState, JobStatus
from infra.adapters.catalog import jobs
from infra.wiring import open_parts
from tasks.rounds.jobs import attempts
from tasks.rounds.steps import work


@flow(name="continual-learning-round")
def continual_learning_round(job_id: str, attempt: int = 1) -> None:
    """Claim, say so, and wait or end."""
    parts = open_parts(Settings())
    held = work.claim(parts, job_id, attempt)
    if held is None:
        return
    with work.Lease(parts, held):
        (parts.settings.home / f"claimed-{attempt}").write_text(str(os.getpid()))
        while attempt == 1:
            time.sleep(0.1)
        with parts.catalog.write() as session:
            job = attempts.fence(session, job_id, attempt)
            jobs.attempt(session, job_id, attempt).state = AttemptState.ENDED
            job.status = JobStatus.DONE
'''

_DISPATCH = """
from configs.settings import Settings
from infra.wiring import open_parts
from tasks.delivery.dispatch import FLOWS, deliver_due
deliver_due(open_parts(Settings()), FLOWS)
"""


@pytest.fixture
def root(tmp_path: Path, prefect_server: PrefectServer) -> Path:
    """A checkout whose round does nothing, deployed."""
    folder = tmp_path / "checkout"
    (folder / "flows").mkdir(parents=True)
    (folder / "flows" / "continual_learning_round.py").write_text(_FLOW)
    (folder / "infra" / "deploy").mkdir(parents=True)
    ours = (REPOSITORY / "infra" / "deploy" / "prefect.yaml").read_text()
    (folder / "infra" / "deploy" / "prefect.yaml").write_text(ours.split("\n\n  - name: default", maxsplit=1)[0])
    deploy(prefect_server.url, prefect_server.auth, folder)
    return folder


@pytest.fixture
def parts(sqlite_url: str, tmp_path: Path, prefect_server: PrefectServer) -> Iterator[Parts]:
    """Adapters on a real Prefect, the loops running."""
    settings = Settings(
        home=tmp_path / "home",
        catalog_url=sqlite_url,
        prefect_api_url=prefect_server.url,
        prefect_auth=prefect_server.auth,
        attempt_lease_s=4,
        attempt_renew_s=0.5,
        reconcile_s=0.5,
    )
    settings.home.mkdir()
    opened, stop = Parts(settings), threading.Event()
    loops = threading.Thread(target=loop.run, args=(opened, stop))
    loops.start()
    yield opened
    stop.set()
    loops.join()
    opened.close()


@pytest.fixture
def round_id(parts: Parts) -> str:
    """A round that is due."""
    world = build(parts.catalog)
    running = start_loop(parts.catalog, world, round_size=1, max_rounds=1)
    with parts.catalog.write() as session:
        notify(session, world.dataset, [notice(world.images[0])], "ann")
        return session.scalars(select(Job.id).where(Job.parent_id == running)).one()


def _environment(parts: Parts, root: Path) -> dict[str, str]:
    ours = {name: value for name, value in parts.settings.child_environment().items() if name.startswith("TEACHBACK_")}
    return {**ours, "TEACHBACK_ROOT": str(root), "PYTHONPATH": f"{root}{os.pathsep}{REPOSITORY}"}


def _claimed(parts: Parts, attempt: int) -> bool:
    path = parts.settings.home / f"claimed-{attempt}"
    return path.exists() and bool(path.read_text())


def _all_over_in_prefect(parts: Parts, round_id: str) -> bool:
    """Say whether Prefect knows that every run of the round is over: one that it believes in holds the pool's place."""
    with parts.catalog.read() as session:
        runs = session.scalars(select(Attempt.flow_run_id).where(Attempt.job_id == round_id)).all()
    states = [parts.orchestrator.state(run) for run in runs if run is not None]
    return all(state is None or state.terminal for state in states)


def test_a_dispatcher_killed_before_it_noted_the_run_starts_no_second_one(
    postgresql_url: str, tmp_path: Path, prefect_server: PrefectServer, root: Path
) -> None:
    assert root  # the deployment
    settings = Settings(
        home=tmp_path / "home",
        catalog_url=postgresql_url,
        prefect_api_url=prefect_server.url,
        prefect_auth=prefect_server.auth,
        testing=True,
        failpoint="run-created",
    )
    settings.home.mkdir()
    parts = Parts(settings)
    world = build(parts.catalog)
    running = start_loop(parts.catalog, world, round_size=1, max_rounds=1)
    with parts.catalog.write() as session:
        notify(session, world.dataset, [notice(world.images[0])], "ann")
        job_id = session.scalars(select(Job.id).where(Job.parent_id == running)).one()
    dying = subprocess.run(
        [sys.executable, "-c", _DISPATCH], env=settings.child_environment(), cwd=REPOSITORY, check=False
    )
    assert dying.returncode == -signal.SIGKILL
    with parts.catalog.write() as session:
        assert session.get_one(Attempt, (job_id, 1)).flow_run_id is None
        session.execute(update(Outbox).values(claimed_until=0.0))  # as when the dead one's claim has run out

    living = Parts(settings.model_copy(update={"failpoint": ""}))
    assert deliver_due(living, FLOWS) == 1

    with prefect_server.http() as client:
        asked = {"flow_runs": {"idempotency_key": {"any_": [f"{job_id}-1"]}}}
        runs = [run["id"] for run in client.post("/flow_runs/filter", json=asked).raise_for_status().json()]
    with living.catalog.read() as session:
        assert runs == [session.get_one(Attempt, (job_id, 1)).flow_run_id]
    living.orchestrator.cancel(runs[0])
    living.close()
    parts.close()


def test_a_killed_machine_is_followed_by_the_next_attempt_though_prefect_believes_in_the_first(
    parts: Parts, prefect_server: PrefectServer, root: Path, round_id: str
) -> None:
    environment = _environment(parts, root)
    with prefect_server.worker("rounds", root, **environment) as worker:
        wait_until(lambda: _claimed(parts, 1), "attempt 1")
        flow = psutil.Process(int((parts.settings.home / "claimed-1").read_text()))
        end(worker, signal.SIGKILL)
        flow.kill()
        wait_until(lambda: not flow.is_running(), "the flow process to be gone")
    with prefect_server.worker("rounds", root, **environment):
        wait_until(lambda: job(parts.catalog, round_id).current_attempt == 2, "attempt 2")
        hurry(parts.catalog)
        wait_until(lambda: job(parts.catalog, round_id).status == JobStatus.DONE, "attempt 2 to finish")
        wait_until(lambda: _all_over_in_prefect(parts, round_id), "Prefect to hear of it")
    assert job(parts.catalog, round_id).current_attempt == 2

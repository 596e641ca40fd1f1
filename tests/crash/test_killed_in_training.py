"""kill -9 in mid-training of what a round needs: it ends once, resumed, and what was published serves meanwhile."""

import os
import signal

import pytest

from tests.crash.ward import Ward
from tests.processes import wait_until

pytestmark = pytest.mark.slow
WARM = "infra.adapters.orchestration.warm"
WORKER = ("infra.adapters.orchestration.worker", "rounds")


def test_a_round_whose_flow_is_killed_goes_on_from_its_checkpoint_and_is_published_once(ward: Ward) -> None:
    job = ward.start_round()
    ward.wait_for_training(job)

    ward.flow(job).kill()

    _served_meanwhile(ward, job)
    _ended_once(ward, job, attempts=2)
    assert ward.first_step(job, 2) > 1


def test_a_round_whose_bundle_host_is_killed_goes_on_from_its_checkpoint_and_is_published_once(ward: Ward) -> None:
    job = ward.start_round()
    ward.wait_for_training(job)

    ward.host(job).kill()

    _served_meanwhile(ward, job)
    _ended_once(ward, job, attempts=2)
    assert ward.first_step(job, 2) > 1


def test_a_round_does_not_miss_its_worker_that_is_killed_and_started_again(ward: Ward) -> None:
    job = ward.start_round()
    ward.wait_for_training(job)
    (worker,) = ward.installation.processes(*WORKER)

    os.kill(worker.pid, signal.SIGKILL)

    _served_meanwhile(ward, job)
    _ended_once(ward, job, attempts=1)
    wait_until(lambda: bool(ward.installation.processes(*WORKER)), "another worker")


def test_a_round_whose_flow_dies_with_the_warm_process_goes_on_from_its_checkpoint(ward: Ward) -> None:
    job = ward.start_round()
    ward.wait_for_training(job)
    forked = ward.installation.processes(WARM)
    (warm,) = [each for each in forked if each.ppid() not in {other.pid for other in forked}]
    flow = ward.flow(job)

    warm.kill()

    wait_until(lambda: not flow.is_running(), "the flow to die with it")
    _served_meanwhile(ward, job)
    _ended_once(ward, job, attempts=2)
    assert ward.first_step(job, 2) > 1
    wait_until(lambda: bool(ward.installation.processes(WARM)), "another warm process")


def _served_meanwhile(ward: Ward, job: str) -> None:
    """What was published before answers while the round is being mended."""
    published = ward.models()["published_version"]
    answered = ward.infer()
    assert answered.status_code == 201, answered.text
    assert answered.headers["X-Teachback-Version"] == published
    assert ward.round(job)["status"] in {"Pending", "Running"}


def _ended_once(ward: Ward, job: str, *, attempts: int) -> None:
    round_ = ward.wait_for_end(job)
    assert round_["status"] == "Done", round_
    assert ward.loop_status(job) == "Done"
    assert round_["attempts"] == attempts
    assert round_["decision"] == "published"
    models = ward.models()
    (version,) = [version for version in models["versions"] if version["job_id"] == job]
    assert [publication["version_id"] for publication in models["publications"]].count(version["id"]) == 1
    assert models["published_version"] == version["id"]
    wait_until(lambda: ward.slot()["serving_seq"] == models["published_seq"], "the new version to be served")
    assert ward.has_trained_all_epochs(job)

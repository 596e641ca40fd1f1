"""A round that is paused in mid-training leaves its device, and goes on at the very step."""

import pytest

from tests.crash.ward import CLOUD, Ward, answer
from tests.processes import wait_until

pytestmark = pytest.mark.slow


def test_a_round_that_is_paused_in_training_goes_on_at_the_very_step(ward: Ward) -> None:
    job = ward.start_round(times=3)  # so long that the round is still training when it is told
    ward.wait_for_training(job)
    host = ward.host(job)
    path = f"{CLOUD}/experiments/{ward.experiment}/jobs/{job}"

    assert answer(ward.client.post(f"{path}:pause"), 200)["message"] == f"Job {job} is Pausing"
    wait_until(lambda: ward.round(job)["status"] == "Paused", "the round to be paused")
    assert not host.is_running()
    left_at = ward.last_step(job, 1)
    assert answer(ward.client.post(f"{path}:resume"), 200)["message"] == f"Job {job} is Resuming"

    round_ = ward.wait_for_end(job)
    assert (round_["status"], round_["attempts"]) == ("Done", 2), round_
    assert ward.first_step(job, 2) == left_at + 1
    assert ward.has_trained_all_epochs(job)

"""kill -9 of the Prefect server in mid-round: it is started again, and the round ends once as if nothing had been."""

import psutil
import pytest

from tests.crash.ward import Ward, answer, save_label
from tests.processes import wait_until

pytestmark = pytest.mark.slow
SERVER = ("prefect", "server", "start")


def test_a_round_outlives_the_prefect_server_while_labels_and_inference_do_not_notice(ward: Ward) -> None:
    job = ward.start_round()
    ward.wait_for_training(job)
    (server,) = ward.installation.processes(*SERVER)
    for process in (server, *server.children(recursive=True)):
        process.kill()

    answered = ward.infer()
    assert answered.status_code == 201, answered.text
    assert answered.headers["X-Teachback-Version"] == ward.models()["published_version"]
    answer(save_label(ward.client, ward.dataset, ward.truth, 1), 200)
    wait_until(lambda: bool(_others(ward, server.pid)), "another Prefect server")

    round_ = ward.wait_for_end(job)
    assert round_["status"] == "Done", round_
    assert round_["decision"] == "published"
    models = ward.models()
    (version,) = [version for version in models["versions"] if version["job_id"] == job]
    assert [publication["version_id"] for publication in models["publications"]].count(version["id"]) == 1


def _others(ward: Ward, pid: int) -> list[psutil.Process]:
    return [process for process in ward.installation.processes(*SERVER) if process.pid != pid]

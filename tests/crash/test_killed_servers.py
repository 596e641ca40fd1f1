"""kill -9 of Prefect's and MLflow's servers in mid-round: the round does not notice, and both are told everything."""

from pathlib import Path

import pytest

from infra.adapters.catalog.session import Catalog
from tasks.images.sample.write import write_cases
from tests.crash.ward import MLFLOW, PREFECT, Ward, answer, make_dataset, make_experiment, save_label
from tests.fixtures_installation import SHORT, running_installation
from tests.processes import wait_until

pytestmark = pytest.mark.slow


def test_a_round_outlives_both_servers_while_labels_and_inference_do_not_notice(ward: Ward) -> None:
    job = ward.start_round()
    ward.wait_for_training(job)

    with ward.killed(*PREFECT), ward.killed(*MLFLOW):
        answered = ward.infer()
        assert answered.status_code == 201, answered.text
        assert answered.headers["X-Teachback-Version"] == ward.models()["published_version"]
        answer(save_label(ward.client, ward.dataset, ward.truth, 1), 200)

    _ended_once(ward, job)


def test_on_postgresql_a_round_outlives_both(postgresql_url: str, tmp_path: Path) -> None:
    truth = tmp_path / "truth"
    write_cases(tmp_path / "images", truth, count=3, seed=1, spacing_mm=6)
    write_cases(tmp_path / "held-out", tmp_path / "held-out-truth", count=1, seed=2, spacing_mm=6, first=101)
    (tmp_path / "held-out-truth").rename(tmp_path / "held-out" / "labels")
    settings = {**SHORT, "TEACHBACK_CATALOG_URL": postgresql_url}
    with running_installation(tmp_path / "home", settings) as there, there.client() as client:
        train, judge = (make_dataset(client, tmp_path / name) for name in ("images", "held-out"))
        experiment = make_experiment(client, train, judge, realtime=False)
        ward = Ward(there, client, Catalog(postgresql_url), truth, train, experiment)
        job = ward.start_round()
        ward.wait_for_training(job)

        with ward.killed(*PREFECT), ward.killed(*MLFLOW):
            answer(save_label(client, train, truth, 2), 200)
        _ended_once(ward, job)
        ward.catalog.close()


def _ended_once(ward: Ward, job: str) -> None:
    round_ = ward.wait_for_end(job)
    assert (round_["status"], round_["decision"], round_["attempts"]) == ("Done", "published", 1), round_
    assert ward.publications(job) == 1
    wait_until(lambda: ward.tracked(job), "MLflow to be told of the end")
    assert ward.tracked_steps(job) == ward.steps(job, 1), "each point once"

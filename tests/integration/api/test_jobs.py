"""Jobs of an experiment in the MONAI Cloud dialect."""

from pathlib import Path
from typing import Any

import pytest
from httpx import Response
from sqlalchemy import select, update

from configs.specs.round import RoundSpec
from configs.states import JobStatus
from infra.adapters.catalog.tables import Attempt, Bundle, Job
from infra.wiring import Parts
from tasks.rounds.records.result import RoundResult, VersionScores
from tests.integration.api.conftest import Api, make_experiment

UNKNOWN = "6f0f4f3e-0c55-4b0e-9d8e-4f1d1f3b7c11"
KEYS = ["optimizer", "optimizer#lr", "optimizer#weight_decay", "train#optimizer#weight_decay"]
GUIDE = {
    "round_size": 1,
    "stop_criteria": {"max_rounds": 2, "key_metric": 0.9},
    "train_spec": {"epochs": 2, "val_interval": 1, "train#optimizer#weight_decay": 0.1, "finetune": True},
}


@pytest.fixture
def jobs(experiment: str, parts: Parts) -> str:
    """The path of the experiment's jobs; its bundle's configuration is known, as registration notes it."""
    with parts.catalog.write() as session:
        session.execute(update(Bundle).values(check={"training_keys": KEYS}))
    return f"/experiments/{experiment}/jobs"


def test_the_guides_loop_runs_at_once_and_answers_a_bare_id(engineer: Api, jobs: str, experiment: str) -> None:
    job = engineer.made(jobs, action="annotation", specs=GUIDE)
    assert isinstance(job, str)
    shown = engineer.call("GET", f"{jobs}/{job}").json()
    assert (shown["status"], shown["action"], shown["experiment_id"]) == ("Running", "annotation", experiment)
    assert shown["specs"] == GUIDE
    assert shown["result"]["key_metric"] == 0.0
    assert shown["result"]["detailed_status"]["status"] == "Running"
    assert list(engineer.call("GET", f"/experiments/{experiment}").json()["jobs"]) == [job]


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ({"action": "annotation", "specs": GUIDE, "surprise": 1}, 400, "{'surprise': ['Unknown field.']}"),
        ({"specs": GUIDE}, 400, "Action is required to run job"),
        ({"action": "annotation", "specs": {}}, 400, "round_size"),
        ({"action": "annotation", "specs": {**GUIDE, "surprise": 1}}, 400, "{'surprise': ['Unknown field.']}"),
        ({"action": "annotation", "specs": {"round_size": 0}}, 400, "round_size"),
        ({"action": "annotation", "specs": {**GUIDE, "train_spec": {"num_gpus": 2}}}, 400, "Use num_gpu instead"),
        ({"action": "annotation", "specs": {**GUIDE, "train_spec": {"bundle_root": "/"}}}, 400, "bundle_root"),
        ({"action": "train", "specs": {"tracking_uri": "file:///mlruns"}}, 400, "scheme 'file'"),
        ({"action": "train", "specs": {"num_gpu": 0, "precision": "16-mixed"}}, 400, "16-mixed needs a GPU"),
        ({"action": "batchinfer", "num_gpu": 2}, 400, "num_gpu"),
        ({"action": "auto3dseg", "specs": {}}, 400, "not offered"),
        ({"action": "anotation", "specs": GUIDE}, 404, "Did you mean 'annotation'?"),
        ({"action": "annotation", "specs": [1]}, 404, "specs"),
    ],
)
def test_what_cannot_be_read_is_refused_and_starts_nothing(
    engineer: Api, jobs: str, body: dict[str, Any], status: int, said: str
) -> None:
    reply = engineer.call("POST", jobs, json=body)
    assert reply.status_code == status
    assert said in reply.json()["error_desc"]
    assert engineer.call("GET", jobs).json() == []


def test_a_second_loop_of_an_experiment_is_refused(engineer: Api, jobs: str) -> None:
    engineer.made(jobs, action="annotation", specs=GUIDE)
    reply = engineer.call("POST", jobs, json={"action": "annotation", "specs": GUIDE})
    assert reply.status_code == 400
    assert "cancel it first" in reply.json()["error_desc"]


def test_a_loop_without_a_data_set_for_evaluation_is_refused(engineer: Api, dataset: str) -> None:
    experiment = make_experiment(engineer, dataset, eval_dataset=None)["id"]
    reply = engineer.call("POST", f"/experiments/{experiment}/jobs", json={"action": "annotation", "specs": GUIDE})
    assert reply.status_code == 404
    assert reply.json()["error_desc"].startswith("Annotation job requires eval dataset in the model metadata.")


def test_a_bundle_that_only_infers_offers_no_training(engineer: Api, jobs: str, parts: Parts) -> None:
    with parts.catalog.write() as session:
        session.execute(update(Bundle).values(tier="C"))
    reply = engineer.call("POST", jobs, json={"action": "train"})
    assert reply.status_code == 400
    assert "its bundle only infers" in reply.json()["error_desc"]


def test_cancelling_a_finished_job_is_200_and_changes_nothing(engineer: Api, jobs: str, parts: Parts) -> None:
    job = engineer.made(jobs, action="annotation", specs=GUIDE)
    with parts.catalog.write() as session:
        session.get_one(Job, job).status = JobStatus.DONE
    before = engineer.call("GET", f"{jobs}/{job}").json()
    assert engineer.call("POST", f"{jobs}/{job}:cancel").status_code == 200
    assert engineer.call("GET", f"{jobs}/{job}").json() == before


def test_cancelling_a_running_loop_cancels_it(engineer: Api, jobs: str) -> None:
    job = engineer.made(jobs, action="annotation", specs=GUIDE)
    assert engineer.call("POST", f"{jobs}/{job}:cancel").status_code == 200
    assert engineer.call("GET", f"{jobs}/{job}").json()["status"] == "Canceled"


def test_a_paused_loop_goes_on_where_it_was(engineer: Api, jobs: str) -> None:
    job = engineer.made(jobs, action="annotation", specs=GUIDE)
    assert engineer.call("POST", f"{jobs}/{job}:resume").status_code == 400
    assert engineer.call("POST", f"{jobs}/{job}:pause").status_code == 200
    assert engineer.call("GET", f"{jobs}/{job}").json()["status"] == "Paused"
    assert engineer.call("POST", f"{jobs}/{job}:resume").status_code == 200
    assert engineer.call("GET", f"{jobs}/{job}").json()["status"] == "Running"


def test_a_job_is_deleted_once_it_has_ended(engineer: Api, jobs: str) -> None:
    job = engineer.made(jobs, action="train", specs={"epochs": 1})
    refused = engineer.call("DELETE", f"{jobs}/{job}")
    assert refused.status_code == 400
    assert "cannot be deleted" in refused.json()["error_desc"]
    engineer.call("POST", f"{jobs}/{job}:cancel")
    assert (engineer.call("DELETE", f"{jobs}/{job}").status_code, engineer.call("GET", jobs).json()) == (200, [])
    assert engineer.call("DELETE", f"{jobs}/{job}").status_code == 404


def test_the_same_idempotency_key_makes_one_job_and_another_request_with_it_is_refused(
    engineer: Api, jobs: str
) -> None:
    body, headers = {"action": "annotation", "specs": GUIDE}, {"Idempotency-Key": "once"}
    replies = [engineer.call("POST", jobs, json=body, headers=headers) for _ in range(2)]
    assert [reply.status_code for reply in replies] == [201, 201]
    assert replies[0].json() == replies[1].json()
    other = engineer.call("POST", jobs, json={"action": "train"}, headers=headers)
    assert other.status_code == 409
    assert len(engineer.call("GET", jobs).json()) == 1


def test_secrets_in_specs_are_not_kept(engineer: Api, jobs: str, parts: Parts) -> None:
    with parts.catalog.write() as session:
        session.execute(update(Bundle).values(check={"training_keys": ["mlflow_password"]}))
    specs = {**GUIDE, "train_spec": {"epochs": 1, "mlflow_password": "hunter22"}}
    refused = engineer.call("POST", jobs, json={"action": "annotation", "specs": specs})
    assert (refused.status_code, "hunter22" in refused.text) == (400, False)
    assert "'mlflow_password' is a secret" in refused.json()["error_desc"]
    specs["train_spec"] = {"epochs": 1, "logging_file": "https://ann:hunter22@nas.example/logging.conf"}
    job = engineer.made(jobs, action="annotation", specs=specs)
    assert "hunter22" not in engineer.call("GET", f"{jobs}/{job}").text
    with parts.catalog.read() as session:
        row = session.get_one(Job, job)
        assert "hunter22" not in str(row.request) + str(row.spec)
        assert str(row.request["train_spec"]["logging_file"]).startswith("https://vault:")


def test_logs_come_redacted_once_there_are_some(engineer: Api, jobs: str, parts: Parts) -> None:
    job = engineer.made(jobs, action="train", specs={"epochs": 1})
    missing = engineer.call("GET", f"{jobs}/{job}/logs")
    assert missing.status_code == 404
    assert missing.json()["error_desc"] == "Logs for the job are not available yet."
    written = parts.settings.home / "work" / job / "1" / "fine_tune" / "log.txt"
    written.parent.mkdir(parents=True)
    written.write_text("epoch 1\nseries 1.2.826.0.1.3680043.8.498.123\n")
    found = engineer.call("GET", f"{jobs}/{job}/logs")
    assert found.headers["content-type"].startswith("text/plain")
    assert "epoch 1" in found.text
    assert "3680043" not in found.text


def test_the_jobs_of_all_experiments_are_listed_by_a_star(engineer: Api, jobs: str, dataset: str) -> None:
    other = make_experiment(engineer, dataset, name="other")["id"]
    made = {engineer.made(path, action="train") for path in (jobs, f"/experiments/{other}/jobs")}
    assert {row["id"] for row in engineer.call("GET", "/experiments/*/jobs").json()} == made
    assert {row["id"] for row in engineer.call("GET", "/experiments/all/jobs").json()} == made
    wrapped = engineer.call("GET", jobs, headers={"Accept": "application/vnd.teachback.wrapped+json"}).json()
    assert len(wrapped["jobs"]) == 1


def test_a_job_of_another_experiment_is_unknown_here(engineer: Api, jobs: str, dataset: str) -> None:
    job = engineer.made(jobs, action="train")
    other = make_experiment(engineer, dataset, name="other")["id"]
    assert engineer.call("GET", f"/experiments/{other}/jobs/{job}").status_code == 404


def test_a_train_job_publishes_nothing_unless_told(engineer: Api, jobs: str, parts: Parts) -> None:
    job = engineer.made(jobs, action="train", specs={"epochs": 3, "publish": "gate"})
    engineer.call("POST", f"{jobs}/{job}:cancel")
    plain = engineer.made(jobs, action="train", specs={"epochs": 3})
    with parts.catalog.read() as session:
        assert session.get_one(Job, job).spec["publish"] == "gate"
        assert session.get_one(Job, plain).spec["publish"] == "none"
        assert session.get_one(Job, plain).spec["train"]["epochs"] == 3
        assert len(session.scalars(select(Attempt)).all()) == 2


def test_forms_are_told_what_specs_look_like(engineer: Api, experiment: str, dataset: str) -> None:
    path = f"/experiments/{experiment}/specs"
    inference = engineer.call("GET", f"{path}/inference/schema").json()
    assert inference == {"image": "", "dataset_id": "", "bundle_params": {}}
    assert engineer.call("GET", f"{path}/train/schema").json() == {"default": {}}
    assert engineer.call("GET", f"{path}/generate/schema").status_code == 404
    assert engineer.call("GET", f"/datasets/{dataset}/specs/nextimage/schema").json() == {"default": {"limit": 1}}
    assert engineer.call("GET", "/datasets:get_formats").json()["dataset_formats"] == ["monai"]


def test_what_clients_of_the_original_send_is_understood(engineer: Api, jobs: str, parts: Parts) -> None:
    tracked = {
        "tracking": "mlflow",
        "tracking_uri": "http://127.0.0.1:9",
        "experiment_name": "spleen",
        "save_execute_config": False,
        "train#handlers#-1#artifacts": None,
        "train#trainer#max_epochs": 7,
        "optimizer#lr": 0.1,
    }
    job = engineer.made(jobs, action="train", specs=tracked, num_gpu=2)

    with parts.catalog.read() as session:
        spec = session.get_one(Job, job).spec["train"]
    assert (spec["epochs"], spec["num_gpu"], spec["overrides"]) == (7, 2, {"optimizer#lr": 0.1})
    assert (spec["tracking"], spec["tracking_uri"], spec["experiment_name"]) == (
        "mlflow",
        "http://127.0.0.1:9",
        "spleen",
    )
    assert engineer.call("GET", f"{jobs}/{job}").json()["num_gpu"] == 2


def test_a_training_is_paused_and_resumed_and_says_so(engineer: Api, jobs: str) -> None:
    job = engineer.made(jobs, action="train", specs={"epochs": 1, "seed": 5})

    assert engineer.call("POST", f"{jobs}/{job}:pause").json()["message"] == f"Job {job} is Paused"
    resumed = engineer.call("POST", f"{jobs}/{job}:resume", json={"specs": {"epochs": 2}})
    assert resumed.json()["message"] == f"Job {job} is Resuming"
    assert engineer.call("GET", f"{jobs}/{job}").json()["specs"] == {"epochs": 2, "seed": 5}
    refused = engineer.call("POST", f"{jobs}/{job}:resume")
    assert (refused.status_code, "only one that is Paused" in refused.text) == (400, True)


def test_new_specs_of_a_training_that_has_begun_are_taken_or_refused_by_name(
    engineer: Api, jobs: str, parts: Parts
) -> None:
    job = engineer.made(jobs, action="train", specs={"epochs": 1})
    with parts.catalog.write() as session:
        session.get_one(Job, job).to_seq = 3
    engineer.call("POST", f"{jobs}/{job}:pause")

    def resume(**specs: object) -> Response:
        return engineer.call("POST", f"{jobs}/{job}:resume", json={"specs": specs})

    refused = resume(epochs=9, seed=4, **{"optimizer#lr": 0.5})
    assert refused.status_code == 400
    assert "has begun and keeps seed, optimizer#lr" in refused.json()["error_desc"]
    assert engineer.call("GET", f"{jobs}/{job}").json()["specs"] == {"epochs": 1}
    assert (resume(num_gpus=2).status_code, resume(epochs="x").status_code, resume(nothing=1).status_code) == (400,) * 3
    assert resume(epochs=9, learning_rate=0.5).status_code == 200
    with parts.catalog.read() as session:
        assert RoundSpec.model_validate(session.get_one(Job, job).spec).train.learning_rate == 0.5


def test_a_job_that_comes_after_another_shows_it_and_says_what_it_waits_for(
    engineer: Api, jobs: str, stranger: Api, folder: Path
) -> None:
    first = engineer.made(jobs, action="train", specs={"epochs": 1})
    next_ = engineer.made(jobs, action="train", parent_job_id=first, platform="a100", description="then")

    shown = engineer.call("GET", f"{jobs}/{next_}").json()
    assert (shown["parent_id"], shown["platform"], shown["status"]) == (first, "a100", "Pending")
    assert shown["result"]["detailed_status"]["message"] == f"Waits until job {first} is Done"
    theirs = make_experiment(stranger, stranger.made("/datasets", client_url=str(folder))["id"])["id"]
    bodies: list[tuple[Api, str, dict[str, Any], int]] = [
        (engineer, jobs, {"action": "annotation", "specs": GUIDE, "parent_job_id": first}, 400),
        (engineer, jobs, {"action": "train", "parent_job_id": UNKNOWN}, 404),
        (engineer, jobs, {"action": "train", "parent_job_id": "7"}, 400),
        (engineer, jobs, {"action": "train", "platform": "abacus"}, 400),
        (stranger, f"/experiments/{theirs}/jobs", {"action": "train", "parent_job_id": first}, 404),
    ]
    for who, path, body, status in bodies:
        assert who.call("POST", path, json=body).status_code == status, body
    assert len(engineer.call("GET", jobs).json()) == 2


def test_a_round_asked_for_with_no_label_waiting_is_answered_so(engineer: Api, jobs: str) -> None:
    job = engineer.made(jobs, action="annotation", specs=GUIDE)

    said = engineer.call("POST", f"{jobs}/{job}:resume", json={"round_now": True})

    assert (said.status_code, said.json()["message"]) == (200, f"Job {job} is Running; no round starts: no label waits")


def test_a_training_says_how_far_it_is_and_what_came_of_it(engineer: Api, jobs: str, parts: Parts) -> None:
    job = engineer.made(jobs, action="train", specs={"epochs": 4})

    def shown(result: RoundResult) -> Any:
        with parts.catalog.write() as session:
            session.get_one(Job, job).result = result.model_dump(mode="json")
        return engineer.call("GET", f"{jobs}/{job}").json()["result"]

    names = ("time_per_epoch", "time_per_iter", "cur_iter", "eta", "kpi", "categorical")
    waiting = shown(RoundResult())
    assert [waiting[name] for name in names] == ["", "", 0, "", [], []]
    running = shown(RoundResult(epoch=2, max_epoch=4, steps=10, max_steps=20, eta_seconds=3700))
    assert [running[name] for name in names] == ["0:30:50", "0:06:10", 10, "1:01:40", [], []]
    scores = VersionScores(version="v", mean=0.7, per_label={"liver": 0.8, "spleen": None})
    ended = shown(
        RoundResult(epoch=4, steps=20, train_seconds=40, key_metric=0.7, metric_name="mean_dice", challenger=scores)
    )
    assert [ended[name] for name in names[:4]] == ["0:00:10", "0:00:02", 20, ""]
    assert ended["kpi"] == [{"metric": "mean_dice", "values": {"4": 0.7}}]
    values = [{"category": "liver", "value": 0.8}, {"category": "spleen", "value": None}]
    assert ended["categorical"] == [{"metric": "mean_dice", "category_wise_values": values}]

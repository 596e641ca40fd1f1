"""`/train` and `/scoring` of the MONAI Label dialect: its clients' calls, over the same jobs as the other dialect's."""

from typing import Any

import pytest
from sqlalchemy import select, update

from configs.states import JobStatus
from infra.adapters.catalog.tables import Bundle, Experiment, Job
from infra.services.callers import Role
from infra.wiring import Parts
from tests.integration.api.conftest import Api, make_experiment

NAME = "liver and spleen"
TRAIN, SCORING = "/label/set/train", "/label/set/scoring"
# What the original's clients send along, as its own trainer's options are.
OPTIONS = {"device": "cuda", "val_split": 0.2, "multi_gpu": True, "gpus": "all", "dataset": "CacheDataset", "name": "x"}


@pytest.fixture
def trainer(experiment: str, parts: Parts) -> str:
    """The experiment's id; its bundle's configuration is known, as registration notes it."""
    with parts.catalog.write() as session:
        session.execute(update(Bundle).values(check={"training_keys": ["optimizer#lr"]}))
    return experiment


def _rows(parts: Parts) -> list[Job]:
    with parts.catalog.read() as session:
        return list(session.scalars(select(Job).order_by(Job.created_at)))


def _set(parts: Parts, **values: Any) -> None:
    with parts.catalog.write() as session:
        session.execute(update(Job).values(**values))


def test_a_click_on_train_starts_a_training_that_publishes_through_the_gate(
    engineer: Api, trainer: str, parts: Parts
) -> None:
    params = {**OPTIONS, "max_epochs": 3, "train_batch_size": 2, "early_stop_patience": -1, "optimizer#lr": 0.1}

    task = engineer.at("POST", f"{TRAIN}/{NAME}", json=params)

    (job,) = _rows(parts)
    assert task.status_code == 200, task.text
    assert task.json().keys() == {"id", "status", "request", "start_ts"}
    assert (task.json()["id"], task.json()["status"]) == (job.id, "SUBMITTED")
    assert task.json()["request"] == {**params, "model": NAME}
    assert (job.experiment_id, job.spec["publish"]) == (trainer, "gate")
    spec = job.spec["train"]
    assert (spec["epochs"], spec["batch_size"], spec["patience"]) == (3, 2, None)
    assert spec["overrides"] == {"optimizer#lr": 0.1}
    assert engineer.call("GET", f"/experiments/{trainer}/jobs/{job.id}").json()["status"] == "Pending"


@pytest.mark.usefixtures("trainer")
def test_further_requests_join_the_one_that_waits(engineer: Api, parts: Parts) -> None:
    first = engineer.at("POST", f"{TRAIN}/{NAME}").json()["id"]
    again = [engineer.at("POST", f"{TRAIN}/{NAME}?enqueue=true", json={}).json()["id"] for _ in range(3)]
    assert [first] * 3 == again
    _set(parts, status=JobStatus.RUNNING)
    assert engineer.at("POST", f"{TRAIN}/{NAME}").json()["id"] != first, "labels may have come since it gathered"
    assert engineer.at("GET", f"{TRAIN}/").json()["id"] == first, "what runs is what a client asks about"


@pytest.mark.usefixtures("trainer")
def test_a_client_sees_how_it_goes_and_that_none_runs(annotator: Api, engineer: Api, parts: Parts) -> None:
    for path, said in (
        ("", "No Train Tasks Found"),
        ("?check_if_running=true", "No Train Tasks are currently Running"),
    ):
        for slash in ("", "/"):
            none = annotator.at("GET", f"{TRAIN}{slash}{path}", follow_redirects=False)
            assert (none.status_code, none.json()["detail"]) == (404, said)
    task = engineer.at("POST", f"{TRAIN}/{NAME}").json()
    assert annotator.at("GET", f"{TRAIN}/?check_if_running=true").status_code == 404
    _set(parts, status=JobStatus.RUNNING, result={"epoch": 2, "max_epoch": 5})

    running = annotator.at("GET", f"{TRAIN}/?check_if_running=true").json()

    assert (running["id"], running["status"]) == (task["id"], "RUNNING")
    assert running["details"] == ["Running, epoch 2 of 5"]
    _set(parts, status=JobStatus.DONE, message="kept back: not better")
    (done,) = annotator.at("GET", f"{TRAIN}/?all=true").json()
    assert (done["status"], done["details"][-1]) == ("DONE", "kept back: not better")
    assert done["end_ts"] >= done["start_ts"]
    assert annotator.at("GET", f"{TRAIN}/").json() == done


def test_every_trainer_is_asked_at_once_as_ohif_does(engineer: Api, trainer: str, dataset: str, parts: Parts) -> None:
    make_experiment(engineer, dataset, name="other")
    make_experiment(engineer, dataset, name="third")
    make_experiment(engineer, dataset, name="other", train_datasets=[], eval_dataset=None)  # it hides no trainer
    body = {"max_epochs": 2, "other": {"max_epochs": 7}, NAME: {"no such key": 1}, "third": {"max_epochs": 0}}

    said = engineer.at("POST", f"{TRAIN}/", json=body).json()

    assert said.keys() == {NAME, "other", "third"}
    assert (said["third"]["result"], "max_epochs" in said["third"]["detail"]) == (None, True)
    assert said[NAME]["result"] is None
    assert "no such key" in said[NAME]["detail"]
    assert said["other"]["detail"] is None
    (job,) = _rows(parts)
    assert job.experiment_id != trainer
    assert (said["other"]["result"]["id"], job.spec["train"]["epochs"]) == (job.id, 7)


@pytest.mark.usefixtures("trainer")
def test_a_stop_ends_a_training_before_a_loops_round_and_is_null_when_there_is_none(
    people_of: dict[Role, Api], parts: Parts
) -> None:
    engineer, reviewer = people_of[Role.ENGINEER], people_of[Role.REVIEWER]
    assert engineer.at("DELETE", f"{TRAIN}/").json() is None
    loop = engineer.made(f"/experiments/{_only(engineer)}/jobs", action="annotation", specs={"round_size": 1})
    with parts.catalog.write() as session:
        row = session.get_one(Job, loop)
        session.add(_round_of(row))
    single = engineer.at("POST", f"{TRAIN}/{NAME}").json()["id"]

    refused = reviewer.at("DELETE", f"{TRAIN}/")
    stopped = engineer.at("DELETE", f"{TRAIN}/").json()

    assert refused.status_code == 403
    assert (stopped["id"], stopped["status"]) == (single, "STOPPED")
    assert {job.status for job in _rows(parts) if job.parent_id == loop} == {JobStatus.RUNNING}
    assert reviewer.at("DELETE", f"{TRAIN}/").status_code == 403
    assert {job.status for job in _rows(parts) if job.parent_id == loop} == {JobStatus.RUNNING}
    round_ = engineer.at("DELETE", f"{TRAIN}/").json()
    assert round_["status"] in {"RUNNING", "STOPPED"}
    assert {job.status for job in _rows(parts) if job.parent_id == loop} <= {JobStatus.CANCELING, JobStatus.CANCELED}


@pytest.mark.usefixtures("trainer")
@pytest.mark.parametrize(
    ("path", "body", "status", "said"),
    [
        (f"{TRAIN}/livr and spleen", {}, 404, "Did you mean 'liver and spleen'?"),
        ("/label/nowhere/train/x", {}, 404, "nowhere"),
        (f"{TRAIN}/{NAME}?run_sync=true", {}, 400, "GET /train/"),
        (f"{TRAIN}/{NAME}", {"max_epochs": 0}, 400, "max_epochs"),
        (f"{TRAIN}/{NAME}", {"max_epoch": 3}, 400, "max_epoch"),
        (f"{TRAIN}/{NAME}", {"publish": "always"}, 400, "publish"),
        (f"{TRAIN}/{NAME}", {"overrides": "x"}, 400, "overrides: give them by name"),
        (f"{TRAIN}/{NAME}", {"seed": 10**40}, 400, "seed"),
        (f"{TRAIN}/{NAME}", {"bundle_root": "/"}, 400, "bundle_root"),
        (f"{TRAIN}/{NAME}", [1], 422, "body"),
    ],
)
def test_what_cannot_be_followed_is_refused_and_starts_nothing(
    engineer: Api, parts: Parts, path: str, body: object, status: int, said: str
) -> None:
    reply = engineer.at("POST", path, json=body)
    assert (reply.status_code, said in reply.json()["detail"]) == (status, True), reply.text
    assert _rows(parts) == []


def test_scores_are_asked_for_once_watched_and_stopped(
    people_of: dict[Role, Api], experiment: str, parts: Parts
) -> None:
    engineer, annotator = people_of[Role.ENGINEER], people_of[Role.ANNOTATOR]
    for query, said in (
        ("", "No Scoring Tasks Found"),
        ("?check_if_running=true", "No Scoring Tasks are currently Running"),
    ):
        none = annotator.at("GET", f"{SCORING}/{query}", follow_redirects=False)
        assert (none.status_code, none.json()["detail"]) == (404, said)

    task = engineer.at("POST", f"{SCORING}/entropy", json={"client_id": "ann"}).json()
    again = [engineer.at("POST", f"{SCORING}/entropy", json={"model": NAME}).json()["id"] for _ in range(3)]

    assert ([task["id"]] * 3, task["status"]) == (again, "SUBMITTED")
    assert task["request"] == {"client_id": "ann", "method": "entropy", "model": NAME}
    _set(parts, status=JobStatus.RUNNING)
    running = annotator.at("GET", f"{SCORING}/?check_if_running=true").json()
    assert (running["id"], running["status"], running["details"]) == (task["id"], "RUNNING", ["Running"])
    shown = engineer.call("GET", f"/experiments/{experiment}/jobs/{task['id']}").json()
    assert (shown["action"], shown["status"]) == ("scoring", "Running")
    assert engineer.at("DELETE", f"{SCORING}/").json()["id"] == task["id"]
    every = engineer.at("POST", f"{SCORING}/", json={}).json()
    assert {"entropy", "dice", "sum"} <= every.keys()
    assert len({one["result"]["id"] for one in every.values()}) == len(every)
    for path, status in (("/livr", 404), ("/dice?run_sync=true", 400)):
        assert engineer.at("POST", f"{SCORING}{path}").status_code == status
    assert annotator.at("POST", f"{SCORING}/dice").status_code == 403
    assert engineer.at("POST", f"{SCORING}/dice", json={"model": "livr"}).status_code == 404
    with parts.catalog.write() as session:
        session.execute(update(Experiment).where(Experiment.id == experiment).values(published_version=None))
    for body in ({}, {"model": NAME}):
        without = engineer.at("POST", f"{SCORING}/sum", json=body)
        assert (without.status_code, "model yet" in without.json()["detail"]) == (400, True)


def _only(engineer: Api) -> str:
    (row,) = [each for each in engineer.call("GET", "/experiments").json() if each["name"] == NAME]
    return str(row["id"])


def _round_of(loop: Job) -> Job:
    return Job(
        org=loop.org,
        experiment_id=loop.experiment_id,
        dataset_id=loop.dataset_id,
        action="train",
        status=JobStatus.RUNNING,
        parent_id=loop.id,
        round_no=1,
    )

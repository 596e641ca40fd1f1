"""A training is also written to the MLflow server that its spec names, where our policy lets us call it."""

import json

import httpx
import pytest
from sqlalchemy import select, update

from configs.errors import InvalidRequestError
from configs.settings import Settings
from configs.specs.round import RoundSpec
from configs.specs.train import TrainSpec
from configs.states import JobStatus
from infra.adapters.catalog.outbox import OutboxKind
from infra.adapters.catalog.tables import Experiment, Job, Outbox
from infra.adapters.security.egress import SETTING
from infra.wiring import Parts
from tasks.delivery.dispatch import HOOKS, deliver_due
from tasks.rounds.jobs.start import start_train
from tasks.rounds.records.result import RoundResult
from tasks.rounds.steps import tracked, work
from tests.builders import build, hurry

NOBODY = "http://127.0.0.1:9"


@pytest.fixture
def catalog_url(sqlite_url: str) -> str:
    """SQLite alone: nothing here is different on PostgreSQL."""
    return sqlite_url


def _claimed(parts: Parts, **train: object) -> str:
    """Start a training and claim it; return its job."""
    world = build(parts.catalog)
    with parts.catalog.write() as session:
        spec = RoundSpec(train=TrainSpec.model_validate(train))
        job = start_train(session, session.get_one(Experiment, world.experiment), spec, actor="ann").id
    assert work.claim(parts, job, 1) is not None
    return job


def _entries(parts: Parts) -> list[Outbox]:
    with parts.catalog.read() as session:
        query = select(Outbox).where(Outbox.kind == OutboxKind.TRACKING_ELSEWHERE).order_by(Outbox.id)
        return list(session.scalars(query))


def _say(parts: Parts, job: str, steps: range) -> None:
    lines = [json.dumps({"name": "loss", "step": step, "value": 0.5, "at": 9.0 + step}) for step in steps]
    with (parts.blobs.attempt_folder(job, 1) / "events.jsonl").open("a") as events:
        events.write("\n".join(lines) + "\n")


@pytest.mark.slow
def test_a_training_is_told_as_it_goes_and_once_it_has_ended_no_more(parts: Parts, mlflow_uri: str) -> None:
    job = _claimed(parts, tracking="mlflow", tracking_uri=f"{mlflow_uri}/", experiment_name="spleen")
    _say(parts, job, range(2))
    assert deliver_due(parts, HOOKS) == 1
    _say(parts, job, range(2, 5))
    result = RoundResult(key_metric=0.7).model_dump(mode="json")
    with parts.catalog.write() as session:
        session.execute(update(Job).where(Job.id == job).values(status=JobStatus.DONE, result=result))
    hurry(parts.catalog)
    assert deliver_due(parts, HOOKS) == 1

    assert all(entry.done_at is not None for entry in _entries(parts))
    api = f"{mlflow_uri}/api/2.0/mlflow"
    there = httpx.get(f"{api}/experiments/get-by-name", params={"experiment_name": "spleen"}).json()["experiment"]
    (run,) = httpx.post(f"{api}/runs/search", json={"experiment_ids": [there["experiment_id"]]}).json()["runs"]
    assert run["info"]["status"] == "FINISHED"
    assert {tag["value"] for tag in run["data"]["tags"] if tag["key"] == "job"} == {job}
    assert {metric["key"] for metric in run["data"]["metrics"]} >= {"loss", "result/key_metric"}
    asked = {"run_id": run["info"]["run_id"], "metric_key": "loss"}
    points = httpx.get(f"{api}/metrics/get-history", params=asked).json()["metrics"]
    assert sorted(point["step"] for point in points) == [0, 1, 2, 3, 4]


def test_an_address_that_may_no_longer_be_called_hears_nothing_and_holds_nothing_up(parts: Parts) -> None:
    _claimed(parts, tracking_uri=NOBODY)
    open_to_others = Parts(Settings(home=parts.settings.home, catalog_url=parts.settings.catalog_url, host="0.0.0.0"))  # noqa: S104 - read, not bound

    assert deliver_due(open_to_others, HOOKS) == 0

    (entry,) = _entries(parts)
    assert (entry.done_at, SETTING in entry.error) == (None, True)
    open_to_others.close()


def test_a_server_that_is_away_is_given_up_one_day(parts: Parts) -> None:
    _claimed(parts, tracking_uri=NOBODY)
    for _ in range(8):
        assert deliver_due(parts, HOOKS) == 0
        hurry(parts.catalog)

    assert deliver_due(parts, HOOKS) == 0
    (entry,) = _entries(parts)
    assert (entry.tries, entry.done_at is not None, "did not answer" in entry.error) == (8, True, True)


@pytest.mark.parametrize("train", [{}, {"tracking": "mlflow"}, {"tracking": "none", "tracking_uri": NOBODY}])
def test_without_a_server_or_where_none_is_wanted_nobody_is_told(parts: Parts, train: dict[str, object]) -> None:
    _claimed(parts, **train)

    assert _entries(parts) == []


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("http://ann:secret@127.0.0.1:9", "carries a user or password"),
        ("file:///tmp/mlruns", "scheme 'file'"),
        ("http://169.254.169.254/", SETTING),
    ],
)
def test_an_address_that_may_not_be_called_is_refused_when_the_job_is_made(parts: Parts, uri: str, said: str) -> None:
    with pytest.raises(InvalidRequestError, match=said) as refusal:
        tracked.check(parts, TrainSpec(tracking_uri=uri))
    assert "secret" not in str(refusal.value)

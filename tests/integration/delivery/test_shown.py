"""What MLflow shows of rounds: through a server that is killed, after a wipe, and after somebody's hand."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import select, update

from configs.settings import Settings
from configs.states import JobStatus
from infra.adapters.catalog import jobs
from infra.adapters.catalog.tables import Experiment, LoopLease, Outbox
from infra.adapters.catalog.tables.base import now
from infra.services.callers import Caller, Role
from infra.services.operating import tracking
from infra.wiring import Parts
from tasks.delivery.dispatch import RECORDS, deliver_due
from tasks.delivery.tracking import group_name
from tasks.publishing.publish import publish_by_person
from tasks.reconcile.records import Back, aliases_moved
from tests.builders import ORG
from tests.fixtures_mlflow import MLflow
from tests.rounds_in_memory import Ward, build_ward
from tests.runs_in_memory import RunsInMemory
from tests.training_in_memory import TrainingInMemory

pytestmark = pytest.mark.slow
ENGINEER = Caller(org=ORG, subject="eve", name="Eve", role=Role.ENGINEER)


class Shown:
    """Reads an MLflow server by its API alone, as its pages do."""

    def __init__(self, uri: str, group: str) -> None:
        self.uri, self.group = uri, group

    def ask(self, method: str, path: str, **asked: Any) -> dict[str, Any]:
        if method == "GET":
            answer = httpx.get(f"{self.uri}/api/2.0/mlflow/{path}", params=asked)
        else:
            answer = httpx.request(method, f"{self.uri}/api/2.0/mlflow/{path}", json=asked)
        found: dict[str, Any] = answer.json()
        return found

    def runs(self) -> list[dict[str, Any]]:
        found = self.ask("GET", "experiments/get-by-name", experiment_name=self.group)
        group = found["experiment"]["experiment_id"]
        return list(self.ask("POST", "runs/search", experiment_ids=[group]).get("runs", []))

    def curves(self, run: Mapping[str, Any]) -> dict[str, list[tuple[int, float]]]:
        """Return step and value of each metric's points, in order."""
        found = {}
        for metric in run["data"].get("metrics", []):
            asked = {"run_id": run["info"]["run_id"], "metric_key": metric["key"]}
            points = self.ask("GET", "metrics/get-history", **asked)["metrics"]
            found[metric["key"]] = sorted((int(point["step"]), point["value"]) for point in points)
        return found

    def versions(self) -> list[dict[str, Any]]:
        found = self.ask("GET", "model-versions/search", filter=f"name = '{self.group}'").get("model_versions", [])
        return sorted(found, key=lambda version: int(version["version"]))

    def alias(self, alias: str) -> str:
        """Return the number that an alias names."""
        answer = self.ask("GET", "registered-models/alias", name=self.group, alias=alias)
        return str(answer.get("model_version", {}).get("version", ""))

    def all(self) -> dict[str, Any]:
        """Return everything but what MLflow numbers by itself."""
        found: dict[str, Any] = {}
        for run in self.runs():
            own = tags(run)
            above = own.pop("mlflow.parentRunId", None)
            info = {name: run["info"].get(name) for name in ("run_name", "status", "start_time", "end_time")}
            key = own["teachback.key"]
            assert key not in found, "a run is shown twice"
            found[key] = [own, above is not None, info, run["data"].get("params"), self.curves(run)]
        versions = [(version["version"], tags({"data": version})) for version in self.versions()]
        return {**found, "versions": versions, "aliases": [self.alias("published"), self.alias("challenger")]}

    def wipe(self) -> None:
        """Remove every run and the registered model."""
        for run in self.runs():
            self.ask("POST", "runs/delete", run_id=run["info"]["run_id"])
        self.ask("DELETE", "registered-models/delete", name=self.group)


def tags(run: Mapping[str, Any]) -> dict[str, str]:
    return {tag["key"]: tag["value"] for tag in run["data"]["tags"]}


@pytest.fixture
def ward(sqlite_url: str, tmp_path: Path, mlflow_uri: str) -> Iterator[Ward]:
    """Patients to train on."""
    home = tmp_path / "home"
    home.mkdir()
    hosts = TrainingInMemory()
    settings = Settings(home=home, catalog_url=sqlite_url, mlflow_tracking_uri=mlflow_uri)
    parts = Parts(settings, orchestrator=RunsInMemory(), hosts=hosts)
    train = ("t1", "t2", "t3", "t4", "t5", "t6")
    yield build_ward(parts, hosts, tmp_path, train=train)
    parts.close()


def _round(ward: Ward, loop: str) -> str:
    """Return the loop's open round."""
    with ward.parts.catalog.read() as session:
        child = jobs.open_child(session, loop)
    assert child is not None
    return child.id


def _label_first(ward: Ward) -> None:
    """Label five patients who are for evaluation alone, and two to train on: the first round is due."""
    judged = ("v1", "v2", "v3", "v4", "v5")
    ward.separate_evaluation(*judged)
    ward.label("t1")
    for patient in judged:
        ward.label_elsewhere(patient)
    ward.label("t2")


def _say(ward: Ward, job: str, steps: range) -> None:
    said = {"kind": "metric", "name": "train_loss", "label": ""}
    lines = [json.dumps({**said, "step": step, "value": 1 / (step + 1), "at": 9.0 + step}) for step in steps]
    with (ward.parts.blobs.attempt_folder(job, 1) / "events.jsonl").open("a") as events:
        events.write("\n".join(lines) + "\n")


def _ask(ward: Ward, ref: str) -> None:
    with ward.parts.catalog.write() as session:
        session.add(Outbox(kind="tracking", ref=ref, payload={}, due_at=0.0))


def _group(ward: Ward) -> str:
    with ward.parts.catalog.read() as session:
        return group_name(session.get_one(Experiment, ward.experiment))


def _undelivered(ward: Ward) -> int:
    with ward.parts.catalog.read() as session:
        return len(session.scalars(select(Outbox.id).where(Outbox.done_at.is_(None), Outbox.kind == "tracking")).all())


def test_a_killed_mlflow_stops_nothing_and_is_complete_when_it_is_back(ward: Ward, mlflow: MLflow) -> None:
    loop, back = ward.loop(2, "auto"), Back()
    _label_first(ward)
    held = ward.claim(_round(ward, loop))
    _say(ward, held.job_id, range(3))
    _ask(ward, held.job_id)
    assert deliver_due(ward.parts, RECORDS) > 0
    with mlflow.killed():
        _say(ward, held.job_id, range(3, 6))
        _ask(ward, held.job_id)
        result = ward.run(held)
        ward.label("t3", "t4")
        second = ward.claim(_round(ward, loop))
        ward.run(second)
        assert result.decision == "published"
        assert ward.published() == ward.versions()[-1]
        assert deliver_due(ward.parts, RECORDS) == 0
        with ward.parts.catalog.write() as session:  # and again, for as long as a long outage
            session.execute(update(Outbox).where(Outbox.done_at.is_(None)).values(due_at=now() + 300))
        assert back.check(ward.parts) == 0

    assert back.check(ward.parts) == 1, "what waits is due at once"
    deliver_due(ward.parts, RECORDS)
    assert _undelivered(ward) == 0
    found = Shown(mlflow.uri, _group(ward)).all()
    _, above, info, _, curves = found[held.job_id]
    assert (above, info["status"]) == (True, "FINISHED")
    assert [step for step, _ in curves["train_loss"]] == list(range(6))
    assert curves["challenger/label/liver"] == [(0, 0.5)]
    assert set(found) == {loop, held.job_id, second.job_id, "versions", "aliases"}
    drawn = found[loop][4]["result/key_metric"]
    assert [step for step, _ in drawn] == [1, 2]
    assert [own["job"] for _, own in found["versions"]] == [held.job_id, second.job_id]
    assert found["aliases"] == ["2", "2"]


def test_a_rebuild_writes_a_wiped_mlflow_again_and_doubles_nothing(ward: Ward, mlflow_uri: str) -> None:
    shown, loop = Shown(mlflow_uri, _group(ward)), ward.loop(2, "auto")
    _label_first(ward)
    first = ward.claim(_round(ward, loop))
    _say(ward, first.job_id, range(4))
    ward.run(first)
    ward.label("t3", "t4")
    ward.run(ward.claim(_round(ward, loop)))
    while _undelivered(ward):
        assert deliver_due(ward.parts, RECORDS)
    before = shown.all()
    own = before[first.job_id][0]
    assert {name: own[name] for name in ("job", "round", "attempts", "decision")} == {
        "job": first.job_id,
        "round": "1",
        "attempts": "1",
        "decision": "published",
    }
    assert own["verdict"].startswith("every finished challenger")
    assert {"snapshot", "bundle", "published_seq", "version"} <= set(own)
    assert any(name.startswith("cohort/") for name in before[first.job_id][4]), list(before[first.job_id][4])
    shown.wipe()
    assert shown.runs() == []

    assert tracking.rebuild(ward.parts, ENGINEER) == 3
    deliver_due(ward.parts, RECORDS)
    assert shown.all() == before
    assert tracking.rebuild(ward.parts, ENGINEER) == 3
    deliver_due(ward.parts, RECORDS)
    assert shown.all() == before
    assert [ward.job(first).status, _undelivered(ward)] == [JobStatus.DONE, 0]


def test_an_alias_that_somebody_moved_is_put_back(ward: Ward, mlflow_uri: str) -> None:
    shown = Shown(mlflow_uri, _group(ward))
    ward.label("t1", "t2")
    for patient in ("t3", "t4"):
        ward.round("auto")
        ward.label(patient)
    deliver_due(ward.parts, RECORDS)
    assert [shown.alias("published"), shown.alias("challenger")] == ["2", "2"]
    assert aliases_moved(ward.parts) == 0

    shown.ask("POST", "registered-models/alias", name=shown.group, alias="published", version="1")
    shown.ask("DELETE", "registered-models/alias", name=shown.group, alias="challenger")
    assert aliases_moved(ward.parts) == 0, "asked a moment ago"
    with ward.parts.catalog.write() as session:
        session.execute(update(LoopLease).values(until=0.0))
    assert aliases_moved(ward.parts) == 1
    deliver_due(ward.parts, RECORDS)
    assert [shown.alias("published"), shown.alias("challenger")] == ["2", "2"]

    with ward.parts.catalog.write() as session:
        served, bundles_own = ward.versions()[-1], ward.versions()[0]
        publish_by_person(session, ward.experiment, bundles_own, expected=served, actor="eve", reason="as it was")
    deliver_due(ward.parts, RECORDS)
    assert [shown.alias("published"), shown.alias("challenger")] == ["", "2"], "the bundle's own weights have no entry"

"""MLflow is written behind: an outage delays what it shows, and afterwards it shows everything once."""

import json
from pathlib import Path

import httpx
from sqlalchemy import select, update

from configs.settings import Settings
from configs.states import JobStatus
from infra.adapters.catalog import outbox
from infra.adapters.catalog.outbox import OutboxKind
from infra.adapters.catalog.tables import Experiment, Job, Outbox
from infra.wiring import Parts
from tasks.delivery.dispatch import RECORDS, deliver_due
from tasks.delivery.events import read_events
from tasks.delivery.tracking import behind, group_name
from tasks.publishing.publish import publish_by_person
from tasks.rounds.count import notify
from tests.builders import World, add_version, build, job, notice, start_loop
from tests.processes import free_port


def _say(parts: Parts, job_id: str, attempt: int, steps: range) -> None:
    """Let training write a loss for each step."""
    said = {"kind": "metric", "name": "loss", "label": ""}
    lines = [json.dumps({**said, "step": step, "value": 1 / (step + 1), "at": 9.0 + step}) for step in steps]
    with (parts.blobs.attempt_folder(job_id, attempt) / "events.jsonl").open("a") as events:
        events.write("\n".join(lines) + "\n")


def _due_round(parts: Parts, world: World) -> str:
    loop = start_loop(parts.catalog, world, round_size=1)
    with parts.catalog.write() as session:
        notify(session, world.dataset, [notice(world.images[0])], "ann")
        return session.scalars(select(Job.id).where(Job.parent_id == loop)).one()


def _ask(parts: Parts, ref: str) -> None:
    with parts.catalog.write() as session:
        outbox.enqueue(session, OutboxKind.TRACKING, ref)


def _steps(uri: str, run: str | None) -> list[int]:
    asked = {"run_id": run or "", "metric_key": "loss"}
    answer = httpx.get(f"{uri}/api/2.0/mlflow/metrics/get-history", params=asked).json()
    return sorted(point["step"] for point in answer.get("metrics", []))


def _with_mlflow(parts: Parts, uri: str) -> Parts:
    home = parts.settings.home
    return Parts(Settings(home=home, catalog_url=parts.settings.catalog_url, mlflow_tracking_uri=uri))


def test_events_are_read_by_offset_over_all_attempts_and_only_whole_lines(tmp_path: Path) -> None:
    folders = [tmp_path / "1", tmp_path / "2"]
    for folder in folders:
        folder.mkdir()
    line = '{"name": "loss", "step": %d, "value": 0.5, "at": 1.0}'
    (folders[0] / "events.jsonl").write_text(f'{line % 1}\n{line % 2}\n{{"name": "lo')
    first = read_events(folders[:1], 0)
    assert [point.step for point in first.points] == [1, 2]
    assert read_events(folders[:1], first.offset) == ([], first.offset)
    (folders[1] / "events.jsonl").write_text(f"{line % 3}\n")
    second = read_events(folders, first.offset)
    assert [point.step for point in second.points] == [3]
    assert read_events(folders, second.offset).points == []


def test_without_an_mlflow_there_is_nothing_to_tell(parts: Parts) -> None:
    world = build(parts.catalog)
    _ask(parts, _due_round(parts, world))
    assert deliver_due(parts, RECORDS) == 1


def test_an_outage_delays_and_afterwards_every_metric_is_there_once(parts: Parts, mlflow_uri: str) -> None:
    world = build(parts.catalog)
    round_id = _due_round(parts, world)
    _say(parts, round_id, 1, range(3))
    _ask(parts, round_id)
    away = _with_mlflow(parts, f"http://127.0.0.1:{free_port()}")
    assert deliver_due(away, RECORDS) == 0
    away.close()
    assert job(parts.catalog, round_id).status == JobStatus.PENDING
    tracked = _with_mlflow(parts, mlflow_uri)
    with parts.catalog.write() as session:
        session.execute(update(Outbox).values(due_at=0.0))
    assert deliver_due(tracked, RECORDS) == 1
    run = job(parts.catalog, round_id).tracking_run
    assert _steps(mlflow_uri, run) == [0, 1, 2]
    assert not behind(tracked, job(parts.catalog, round_id))
    _say(parts, round_id, 1, range(3, 5))
    with parts.catalog.write() as session:  # and what was sent and not written down is sent again
        session.execute(update(Job).where(Job.id == round_id).values(events_sent=0))
    _ask(parts, round_id)
    assert deliver_due(tracked, RECORDS) == 1
    assert _steps(mlflow_uri, run) == [0, 1, 2, 3, 4]
    tracked.close()


def test_what_is_published_has_the_alias_also_after_a_rollback(parts: Parts, mlflow_uri: str) -> None:
    world = build(parts.catalog)
    tracked = _with_mlflow(parts, mlflow_uri)
    round_id = _due_round(parts, world)
    version = add_version(parts.catalog, world, 1, round_id)
    with parts.catalog.write() as session:
        session.execute(update(Job).where(Job.id == round_id).values(status=JobStatus.DONE))
        publish_by_person(session, world.experiment, version, expected=world.version, actor="eve", reason="better")
    _ask(parts, round_id)
    assert deliver_due(tracked, RECORDS) == 2
    with parts.catalog.read() as session:
        group = group_name(session.get_one(Experiment, world.experiment))
    for alias in ("published", "challenger"):
        asked = {"name": group, "alias": alias}
        found = httpx.get(f"{mlflow_uri}/api/2.0/mlflow/registered-models/alias", params=asked).json()
        tags = {tag["key"]: tag["value"] for tag in found["model_version"]["tags"]}
        assert tags["teachback.key"] == version
    tracked.close()

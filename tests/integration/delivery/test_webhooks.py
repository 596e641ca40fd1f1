"""Subscribers are told what happened, signed, once it is true, and again for a day if they are away."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest
from sqlalchemy import select, update
from standardwebhooks import Webhook

from configs.errors import StoreError
from configs.states import JobStatus
from infra.adapters.catalog import outbox
from infra.adapters.catalog.tables import Hook, Job, Outbox, VaultValue
from infra.services import people
from infra.services.callers import Role
from infra.services.operating import hooks
from infra.wiring import Parts
from tasks.delivery.dispatch import HOOKS, deliver_due
from tasks.delivery.webhooks import DELAYS_S
from tasks.images.health import degrade
from tasks.rounds.count import notify
from tasks.rounds.jobs.cancel import cancel
from tests.builders import ORG, World, build, notice, start_loop


@dataclass
class Receiver:
    """Another system; answers with `status`."""

    url: str = ""
    status: int = 204
    got: list[tuple[dict[str, str], bytes]] = field(default_factory=list)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    there = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            there.got.append((dict(self.headers), body))
            self.send_response(there.status)
            self.send_header("Location", f"{there.url}/elsewhere")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = Thread(target=running.serve_forever)
        thread.start()
        there.url = f"http://127.0.0.1:{running.server_port}/in?key=hush"
        yield there
        running.shutdown()
        thread.join()


@pytest.fixture
def world(parts: Parts) -> World:
    return build(parts.catalog)


def _subscribe(parts: Parts, receiver: Receiver, *events: str) -> hooks.NewHook:
    return hooks.subscribe(parts, people.operator(ORG), receiver.url, events)


def _told(receiver: Receiver, secret: str) -> list[dict[str, Any]]:
    return [Webhook(secret).verify(body, headers) for headers, body in receiver.got]


def test_a_saved_label_and_a_jobs_states_are_told_in_signed_cloud_events(
    parts: Parts, world: World, receiver: Receiver
) -> None:
    made = _subscribe(parts, receiver, "label.*", "job.state")
    loop = start_loop(parts.catalog, world, round_size=5)
    with parts.catalog.write() as session:
        notify(session, world.dataset, [notice(world.images[0])], "ann")
    with parts.catalog.write() as session:
        cancel(session, loop, "ann")

    deliver_due(parts, HOOKS)

    told = _told(receiver, made.secret)
    assert [(event["type"], event["data"].get("status")) for event in told] == [
        ("teachback.job.state", "Running"),
        ("teachback.label.saved", None),
        ("teachback.job.state", "Canceled"),
    ]
    assert told[0]["specversion"] == "1.0"
    assert told[0]["subject"] == loop
    assert told[1]["data"]["dataset_id"] == world.dataset
    assert len({event["id"] for event in told}) == 3
    assert receiver.got[0][0]["webhook-id"] == told[0]["id"]


@pytest.mark.parametrize(("decision", "event"), [("published", "round.published"), ("kept_back", "round.kept_back")])
def test_the_end_of_a_round_is_told_with_its_numbers(
    parts: Parts, world: World, receiver: Receiver, decision: str, event: str
) -> None:
    made = _subscribe(parts, receiver, "round.*")
    round_id = _round(parts, world)
    with parts.catalog.write() as session:
        row = session.get_one(Job, round_id)
        row.status = JobStatus.RUNNING
        row.status, row.result = JobStatus.DONE, {"decision": decision, "key_metric": 0.5, "metric_kind": "holdout"}
    deliver_due(parts, HOOKS)
    told = _told(receiver, made.secret)
    assert [each["type"] for each in told] == ["teachback.round.finished", f"teachback.{event}"]
    assert told[0]["data"]["key_metric"] == 0.5
    assert told[0]["data"]["round"] == 1


def test_a_failed_round_and_a_degraded_data_set_are_told(parts: Parts, world: World, receiver: Receiver) -> None:
    made = _subscribe(parts, receiver, "round.failed", "dataset.degraded")
    round_id = _round(parts, world)
    with parts.catalog.write() as session:
        session.get_one(Job, round_id).status = JobStatus.ERROR
    degrade(parts, world.dataset, StoreError("the credentials have expired"))
    deliver_due(parts, HOOKS)
    assert [each["type"] for each in _told(receiver, made.secret)] == [
        "teachback.round.failed",
        "teachback.dataset.degraded",
    ]


def test_nothing_is_told_of_what_was_rolled_back_or_of_another_organisation(
    parts: Parts, world: World, receiver: Receiver
) -> None:
    _subscribe(parts, receiver, "*")
    people.create_key(parts, people.operator("elsewhere"), name="x", role=Role.ADMIN)
    hooks.subscribe(parts, people.operator("elsewhere"), receiver.url, ["*"])
    with parts.catalog.write() as session:
        notify(session, world.dataset, [notice(world.images[0])], "ann")
        session.flush()
        session.rollback()
    deliver_due(parts, HOOKS)
    assert receiver.got == []
    with parts.catalog.write() as session:
        notify(session, world.dataset, [notice(world.images[0])], "ann")
    deliver_due(parts, HOOKS)
    assert len(receiver.got) == 1


@pytest.mark.parametrize("status", [500, 404, 302])
def test_a_receiver_that_is_away_is_tried_eight_times_within_a_day(
    parts: Parts, world: World, receiver: Receiver, status: int
) -> None:
    receiver.status = status
    made = _subscribe(parts, receiver, "label.saved")
    with parts.catalog.write() as session:
        notify(session, world.dataset, [notice(world.images[0])], "ann")
    for _ in range(12):
        assert deliver_due(parts, HOOKS) == 0
        with parts.catalog.write() as session:
            session.execute(update(Outbox).values(due_at=0.0))
    assert len(receiver.got) == 8
    assert len({body for _, body in receiver.got}) == 1, "every try carries the same message"
    assert sum(DELAYS_S) == 24 * 3600
    with parts.catalog.read() as session:
        row = session.get_one(Hook, made.row.id)
        entry = session.scalars(select(Outbox).where(Outbox.kind == outbox.OutboxKind.WEBHOOK)).one()
    assert str(status) in row.error
    assert entry.done_at is not None
    assert "hush" not in row.error + entry.error


def test_a_receiver_that_is_gone_for_good_is_told_no_more(parts: Parts, world: World, receiver: Receiver) -> None:
    receiver.status = 410
    _subscribe(parts, receiver, "label.saved")
    for image in world.images[:2]:
        with parts.catalog.write() as session:
            notify(session, world.dataset, [notice(image)], "ann")
        deliver_due(parts, HOOKS)
    assert len(receiver.got) == 1


def test_after_a_rotation_both_secrets_verify_and_a_revoked_webhook_is_silent_and_leaves_no_secret(
    parts: Parts, world: World, receiver: Receiver
) -> None:
    operator = people.operator(ORG)
    made = _subscribe(parts, receiver, "label.saved")
    rotated = hooks.rotate(parts, operator, made.row.id)
    with parts.catalog.write() as session:
        notify(session, world.dataset, [notice(world.images[0])], "ann")
    deliver_due(parts, HOOKS)
    assert _told(receiver, made.secret) == _told(receiver, rotated.secret)
    with parts.catalog.write() as session:
        notify(session, world.dataset, [notice(world.images[1])], "ann")
    hooks.revoke(parts, operator, made.row.id)
    deliver_due(parts, HOOKS)
    assert len(receiver.got) == 1
    with parts.catalog.read() as session:
        assert session.scalars(select(VaultValue)).all() == []


def _round(parts: Parts, world: World) -> str:
    loop = start_loop(parts.catalog, world, round_size=1)
    with parts.catalog.write() as session:
        notify(session, world.dataset, [notice(world.images[0])], "ann")
        return session.scalars(select(Job.id).where(Job.parent_id == loop)).one()

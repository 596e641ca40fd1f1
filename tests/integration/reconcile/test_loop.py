"""The loops as a whole: they deliver, they survive every failure, and of several processes one reconciles."""

import threading
from pathlib import Path

import pytest
from sqlalchemy import func, select, update

from configs.settings import Settings
from infra.adapters.catalog import loops
from infra.adapters.catalog.tables import Attempt, BearerToken, IdempotencyKey, Lease, Outbox
from infra.adapters.catalog.tables.base import now
from infra.adapters.orchestration.base import RunState
from infra.wiring import Parts
from tasks.delivery.dispatch import deliver_due
from tasks.reconcile import loop, sweep
from tasks.reconcile.checks import Named, checks
from tasks.reconcile.loop import Reconciler
from tests.builders import ORG, World
from tests.integration.reconcile.conftest import Round
from tests.processes import wait_until
from tests.runs_in_memory import RunsInMemory


def test_two_processes_never_hold_the_same_loop(parts: Parts) -> None:
    with parts.catalog.write() as session:
        assert loops.hold(session, "reconciler", "a", 15)
        assert loops.hold(session, "reconciler", "a", 15)
        assert not loops.hold(session, "reconciler", "b", 15)
        loops.let_go(session, "reconciler", "b")
        assert not loops.hold(session, "reconciler", "b", 15)
        loops.let_go(session, "reconciler", "a")
        assert loops.hold(session, "reconciler", "b", 15)


def test_of_two_reconcilers_one_works_until_it_lets_go(parts: Parts) -> None:
    first, second = Reconciler(parts), Reconciler(parts)
    assert first.step()
    assert not second.step()
    first.close()
    assert second.step()


def test_every_check_runs_though_prefect_is_away(parts: Parts, runs: RunsInMemory, round_: Round) -> None:
    round_.claim(lease_s=-1, host="another-host")
    runs.up = False
    reconciler = Reconciler(parts)
    assert reconciler.step()
    assert reconciler.mended["attempts: lease over"] == 1
    assert set(reconciler.mended) == {each.name for each in checks()}


def test_a_check_that_fails_in_an_unforeseen_way_is_said_without_its_text(
    parts: Parts, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_parts: Parts) -> int:
        raise RuntimeError("Jane Doe 1.2.826.0.1.3680043")

    reconciler = Reconciler(parts)
    reconciler._checks = [Named("a fault", fail), Named("after it", lambda _parts: 1)]
    assert reconciler.step()
    assert reconciler.mended["after it"] == 1
    assert "a fault" in caplog.text
    assert "RuntimeError" in caplog.text
    assert "Jane" not in caplog.text


def test_after_the_machine_slept_leases_get_time_to_be_renewed(parts: Parts, round_: Round) -> None:
    round_.claim(lease_s=-1, host="another-host")
    reconciler = Reconciler(parts)
    reconciler._clocks._apart -= 8 * 3600  # the wall's clock went on by eight hours while our own stood still
    reconciler.step()
    assert reconciler.mended["attempts: lease over"] == 0
    assert reconciler.mended["attempts: flow run ended"] == 0
    reconciler._clocks._trust_at -= parts.settings.attempt_lease_s
    reconciler.step()
    assert reconciler.mended["attempts: lease over"] == 1


def test_the_loops_deliver_what_waits_reconcile_and_stop(
    catalog_url: str, tmp_path: Path, round_: Round, runs: RunsInMemory
) -> None:
    runs.goes(round_.run(), RunState.CRASHED)
    quick = Parts(Settings(home=tmp_path, catalog_url=catalog_url, reconcile_s=0.05), orchestrator=runs)
    stop = threading.Event()
    thread = threading.Thread(target=loop.run, args=(quick, stop))
    thread.start()
    try:
        wait_until(lambda: round_.job().current_attempt == 2, "the next attempt")
        with round_.parts.catalog.write() as session:
            session.execute(update(Outbox).values(due_at=0.0))
        loop.wake()
        wait_until(lambda: round_.attempt(2).flow_run_id is not None, "its start")
    finally:
        stop.set()
        thread.join(10)
    assert not thread.is_alive()
    with round_.parts.catalog.write() as session:
        assert loops.hold(session, loop.LEASE, "another", 15), "the lease was given back"
    quick.close()


def test_what_waited_for_prefect_is_due_at_once_when_it_answers_again(
    parts: Parts, runs: RunsInMemory, round_: Round
) -> None:
    with parts.catalog.write() as session:
        session.execute(update(Outbox).values(done_at=None, tries=8, due_at=now() + 250))
        session.execute(update(Attempt).values(flow_run_id=None))
    outage = sweep.Outage()
    runs.up = False
    assert outage.check(parts) == 0
    assert deliver_due(parts) == 0
    runs.up = True
    assert outage.check(parts) == 1
    assert deliver_due(parts) == 1
    assert outage.check(parts) == 0
    assert round_.attempt().flow_run_id is not None


def test_rows_whose_time_is_over_are_removed_and_no_others(parts: Parts, world: World) -> None:
    with parts.catalog.write() as session:
        for number, image in enumerate(world.images[:2]):
            session.add(Lease(dataset_id=world.dataset, image_id=image, holder="ann", until=now() + 100 * number - 50))
        session.add(IdempotencyKey(org=ORG, key="k", request_hash="h", answer={}, until=now() - 1))
        session.add(Outbox(kind="tracking", ref="old", done_at=now() - sweep.KEPT_S - 1))
        session.add(Outbox(kind="tracking", ref="new", done_at=now()))
    assert sweep.leases_removed(parts) == 3
    assert sweep.leases_removed(parts) == 0, "once a minute"
    with parts.catalog.read() as session:
        assert session.scalars(select(Lease.image_id)).all() == [world.images[1]]
        assert session.scalars(select(Outbox.ref)).all() == ["new"]
        assert session.scalar(select(func.count()).select_from(BearerToken)) == 0

"""The outbox delivers at least once, to one claimer at a time, with a growing delay."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from sqlalchemy import select, update

from infra.adapters.catalog import outbox
from infra.adapters.catalog.outbox import Entry, OutboxKind
from infra.adapters.catalog.session import Catalog
from infra.adapters.catalog.tables import Outbox
from infra.adapters.catalog.tables.base import now

THREADS = 8


def _enqueue(catalog: Catalog, count: int = 1, *, due_in_s: float = 0) -> None:
    with catalog.write() as session:
        for number in range(count):
            outbox.enqueue(session, OutboxKind.START_FLOW, f"job-{number}", {"attempt": 1}, due_in_s=due_in_s)


def _claim_one(catalog: Catalog) -> Entry:
    with catalog.write() as session:
        (entry,) = outbox.claim(session)
    return entry


def _age(catalog: Catalog, seconds: float) -> None:
    """Let *seconds* go by for every entry."""
    with catalog.write() as session:
        earlier = {
            "due_at": Outbox.due_at - seconds,
            "claimed_until": Outbox.claimed_until - seconds,
            "created_at": Outbox.created_at - seconds,
        }
        session.execute(update(Outbox).values(earlier))


def test_an_entry_of_a_unit_that_fails_was_never_asked_for(catalog: Catalog) -> None:
    def fail() -> None:
        with catalog.write() as session:
            outbox.enqueue(session, OutboxKind.TRACKING, "job")
            session.flush()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    with catalog.read() as session:
        assert not outbox.due(session)


def test_claims_from_eight_threads_hand_out_each_entry_once(catalog: Catalog) -> None:
    _enqueue(catalog, 60)
    start = Barrier(THREADS)

    def drain(_thread: int) -> list[str]:
        start.wait()
        mine: list[str] = []
        while True:
            with catalog.write() as session:
                entries = outbox.claim(session, limit=2)
            if not entries:
                return mine
            for entry in entries:
                with catalog.write() as session:
                    assert outbox.done(session, entry)
            mine += [entry.ref for entry in entries]

    with ThreadPoolExecutor(THREADS) as pool:
        taken = Counter(ref for refs in pool.map(drain, range(THREADS)) for ref in refs)
    assert taken == Counter({f"job-{number}": 1 for number in range(60)})


def test_a_claimed_entry_is_nobody_elses_until_the_claim_runs_out(catalog: Catalog) -> None:
    _enqueue(catalog)
    first = _claim_one(catalog)
    with catalog.write() as session:
        assert outbox.claim(session) == []
    _age(catalog, outbox.CLAIM_S + 1)
    second = _claim_one(catalog)
    assert (second.ref, second.tries) == (first.ref, 2)
    with catalog.write() as session:
        assert not outbox.failed(session, first, "too late to say")
        assert outbox.done(session, second)
    with catalog.read() as session:
        assert not outbox.undelivered(session, OutboxKind.START_FLOW, first.ref)


def test_failures_wait_twice_as_long_each_time_up_to_five_minutes(catalog: Catalog) -> None:
    _enqueue(catalog)
    waits = []
    for _ in range(11):
        entry = _claim_one(catalog)
        with catalog.write() as session:
            outbox.failed(session, entry, "Prefect did not answer.")
            waits.append(session.scalars(select(Outbox.due_at - now())).one())
        _age(catalog, outbox.LONGEST_DELAY_S)
    assert waits == pytest.approx([1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300], abs=0.9)


def test_an_entry_is_not_due_before_its_time(catalog: Catalog) -> None:
    _enqueue(catalog, due_in_s=60)
    with catalog.read() as session:
        assert not outbox.due(session)
    _age(catalog, 61)
    with catalog.read() as session:
        assert outbox.due(session)


def test_hasten_makes_what_failed_due_now_and_leaves_what_was_planned(catalog: Catalog) -> None:
    _enqueue(catalog)
    for _ in range(5):
        entry = _claim_one(catalog)
        with catalog.write() as session:
            outbox.failed(session, entry, "Prefect did not answer.")
            outbox.hasten(session, [OutboxKind.START_FLOW])
    _enqueue(catalog, due_in_s=60)
    with catalog.write() as session:
        outbox.hasten(session, [OutboxKind.START_FLOW])
        assert len(outbox.claim(session, limit=9)) == 1


def test_entries_undelivered_for_a_day_are_shown_as_stuck(catalog: Catalog) -> None:
    _enqueue(catalog)
    entry = _claim_one(catalog)
    with catalog.write() as session:
        outbox.failed(session, entry, "no deployment")
        assert outbox.stuck(session) == []
    _age(catalog, outbox.STUCK_AFTER_S + 1)
    with catalog.read() as session:
        assert [row.error for row in outbox.stuck(session)] == ["no deployment"]


def test_kinds_nobody_handles_are_left_alone(catalog: Catalog) -> None:
    with catalog.write() as session:
        outbox.enqueue(session, OutboxKind.WEBHOOK, "job")
    with catalog.write() as session:
        assert not outbox.due(session, [OutboxKind.START_FLOW])
        assert outbox.claim(session, [OutboxKind.START_FLOW]) == []

"""A unit that a database ends in favour of another one is run again."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Barrier, BrokenBarrierError

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from infra.adapters.catalog.locks import lock
from infra.adapters.catalog.session import Catalog
from infra.adapters.catalog.tables import Dataset, Organisation
from tasks.labels.incoming.imports import _note_seen
from tests.processes import wait_until


def test_two_units_that_lock_two_rows_in_opposite_order_both_end(catalog: Catalog) -> None:
    with catalog.write() as session:
        session.add_all([Organisation(id="east"), Organisation(id="west")])
    both_hold_one = Barrier(2)
    begun = []

    def visit(first: str, second: str) -> str:
        def work(session: Session) -> str:
            begun.append(first)
            _take(session, first)
            _meet(both_hold_one)
            _take(session, second)
            return first

        return catalog.unit(work)

    with ThreadPoolExecutor(2) as pool:
        asked = [pool.submit(visit, "east", "west"), pool.submit(visit, "west", "east")]
        assert [visited.result() for visited in asked] == ["east", "west"]

    assert len(begun) == (2 if catalog.is_sqlite else 3)  # SQLite never lets two in; PostgreSQL sends one back


def test_a_unit_that_fails_for_another_reason_is_not_repeated(catalog: Catalog) -> None:
    begun = []

    def work(_: Session) -> None:
        begun.append(1)
        raise OperationalError("SELECT 1", {}, ValueError("no such thing"))

    with pytest.raises(OperationalError):
        catalog.unit(work)

    assert len(begun) == 1


def test_two_passes_that_note_one_label_at_once_both_end(catalog: Catalog) -> None:
    with catalog.write() as session:
        session.add(Organisation(id="east"))
        session.flush()
        session.add(Dataset(id="ct", org="east", name="ct", spec={}))
    note = partial(_note_seen, "ct", "mark", "")
    with ThreadPoolExecutor(1) as pool:
        with catalog.write() as first:
            note(first)
            second = pool.submit(catalog.unit, note)
            if not catalog.is_sqlite:  # SQLite lets it begin when this one has ended
                wait_until(partial(_somebody_waits, catalog), "the second pass to wait", step_s=0.05)
        assert second.result(timeout=60) == 0


def _somebody_waits(catalog: Catalog) -> bool:
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    with catalog.read() as session:
        return bool(session.scalar(text(waiting)))


def _take(session: Session, name: str) -> None:
    session.scalar(lock(session, select(Organisation).where(Organisation.id == name)))


def _meet(gate: Barrier) -> None:
    """Wait until both units hold a row; the one that is run again finds nobody to wait for, nor does SQLite."""
    try:
        gate.wait(timeout=1)
    except BrokenBarrierError:
        return
    gate.abort()

"""A unit that a database ends in favour of another one is run again."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, BrokenBarrierError

import pytest
from sqlalchemy import select
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from infra.adapters.catalog.locks import lock
from infra.adapters.catalog.session import Catalog
from infra.adapters.catalog.tables import Organisation


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


def _take(session: Session, name: str) -> None:
    session.scalar(lock(session, select(Organisation).where(Organisation.id == name)))


def _meet(gate: Barrier) -> None:
    """Wait until both units hold a row; the one that is run again finds nobody to wait for, nor does SQLite."""
    try:
        gate.wait(timeout=1)
    except BrokenBarrierError:
        return
    gate.abort()

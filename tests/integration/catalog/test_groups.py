"""Units of one process that wait share a commit: each is alone, fails alone, and returns when it is on disk."""

import sqlite3
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Event

import pytest
from sqlalchemy import event, select, text
from sqlalchemy.exc import OperationalError

from infra.adapters.catalog import groups
from infra.adapters.catalog.session import Catalog
from infra.adapters.catalog.tables import Organisation

ROUNDS = 10_000


class Units:
    """Units that begin while a first one holds its turn, so that they wait; counts the commits."""

    def __init__(self, catalog: Catalog, pool: ThreadPoolExecutor) -> None:
        self.catalog, self.pool = catalog, pool
        self.commits = 0
        self.goes_on = Event()
        catalog._groups.longest_s = 60  # so that only the number of units ends a group
        event.listen(catalog._writer, "commit", self._count)

    def _count(self, _connection: object) -> None:
        self.commits += 1

    def add(self, name: str, *, fails: bool = False, sql: str = "") -> Future[None]:
        return self.pool.submit(self._add, name, fails, sql)

    def _add(self, name: str, fails: bool, sql: str) -> None:
        with self.catalog.write() as session:
            session.add(Organisation(id=name))
            session.flush()
            if name == "first":
                self.goes_on.wait(30)
            if sql:
                session.execute(text(sql))
            if fails:
                raise ValueError(name)

    def wait_for(self, number: int) -> None:
        """Poll until so many units wait behind the first, which has its turn."""
        for _ in range(ROUNDS):
            if self.catalog._groups._group is not None and len(self.catalog._groups._waiting) == number:
                return
            self.goes_on.wait(0.001)
        raise AssertionError(f"{number} units never waited")

    def names(self) -> set[str]:
        with self.catalog.read() as session:
            return set(session.scalars(select(Organisation.id)))


def test_units_that_wait_are_committed_together_and_one_that_fails_takes_back_only_its_own(
    sqlite_catalog: Catalog,
) -> None:
    with ThreadPoolExecutor(8) as pool:
        units = Units(sqlite_catalog, pool)
        first = units.add("first")
        units.wait_for(0)
        others = []
        for number in range(6):
            others.append(units.add(f"n{number}", fails=number in {2, 5}))
            units.wait_for(number + 1)
        assert units.names() == set()
        units.goes_on.set()

        first.result()
        failed = [other.exception() for other in others]

    assert [str(error) for error in failed if error] == ["n2", "n5"]
    assert units.names() == {"first", "n0", "n1", "n3", "n4"}
    assert units.commits == 1


def test_a_group_has_an_end_while_others_go_on_coming(sqlite_catalog: Catalog) -> None:
    count = groups.MOST + 3
    with ThreadPoolExecutor(count) as pool:
        units = Units(sqlite_catalog, pool)
        asked = [units.add("first")]
        units.wait_for(0)
        for number in range(count - 1):
            asked.append(units.add(f"n{number}"))
            units.wait_for(number + 1)
        units.goes_on.set()
        for each in asked:
            each.result()

    assert len(units.names()) == count
    assert units.commits == 2


def test_when_the_transaction_is_lost_nobody_is_told_that_it_is_there(sqlite_catalog: Catalog) -> None:
    with ThreadPoolExecutor(4) as pool:
        units = Units(sqlite_catalog, pool)
        first = units.add("first")
        units.wait_for(0)
        lost = units.add("lost", sql="ROLLBACK")  # what SQLite does by itself when the disk is full
        units.wait_for(1)
        later = units.add("later")
        units.wait_for(2)
        units.goes_on.set()

        assert isinstance(first.exception(), OperationalError)
        assert lost.exception() is not None
        later.result()

    assert units.names() == {"later"}


def test_when_the_commit_fails_every_unit_of_it_says_so(sqlite_catalog: Catalog) -> None:
    def refuse(_connection: object) -> None:
        event.remove(sqlite_catalog._writer, "commit", refuse)
        raise sqlite3.OperationalError("disk I/O error")

    with ThreadPoolExecutor(4) as pool:
        units = Units(sqlite_catalog, pool)
        event.listen(sqlite_catalog._writer, "commit", refuse)
        asked = [units.add("first")]
        units.wait_for(0)
        asked.append(units.add("second"))
        units.wait_for(1)
        units.goes_on.set()

        for each in asked:
            with pytest.raises(OperationalError, match="disk I/O error"):
                each.result()

    assert units.names() == set()
    with sqlite_catalog.write() as session:
        session.add(Organisation(id="first"))
    assert units.names() == {"first"}


def test_a_unit_that_cannot_begin_says_so_and_the_next_one_begins(sqlite_catalog: Catalog) -> None:
    other = sqlite3.connect(str(sqlite_catalog.url.database), isolation_level=None)
    with sqlite_catalog._writer.connect() as connection:
        connection.exec_driver_sql("PRAGMA busy_timeout=1")
        connection.rollback()
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(OperationalError, match="locked"), sqlite_catalog.write() as session:
        session.add(Organisation(id="first"))
    other.execute("ROLLBACK")
    other.close()

    with sqlite_catalog.write() as session:
        session.add(Organisation(id="second"))
    with sqlite_catalog.read() as session:
        assert session.scalars(select(Organisation.id)).all() == ["second"]

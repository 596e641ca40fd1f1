"""Transactions: `read()` for questions, `write()` for one unit.

A unit does SQL and nothing else: no network, no file, no sleep. On SQLite a unit has the write lock from its beginning
(`BEGIN IMMEDIATE`), so it is alone; threads of one process take turns in a transaction that is committed for all of
them (`groups`), which is fairer than SQLite's own sleep-and-retry, and asks the disk once. On PostgreSQL a unit runs
READ COMMITTED and locks its rows (`locks`) in the order dataset, job (ascending id), experiment, slot. Constraints lock
rows in an order of their own, so two units can still wait for each other: PostgreSQL ends one of them, and `unit` runs
it again.
"""

import random
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Engine, create_engine, event, func, make_url, select
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session, sessionmaker
from sqlalchemy.pool import ConnectionPoolEntry

from infra.adapters.catalog import news, repeats, tallies, texts
from infra.adapters.catalog.groups import Groups

_Found = TypeVar("_Found")
# Units that met once rarely meet again behind a random pause; who loses five times in a row is told.
_TRIES = 5
_LOST = frozenset({"40001", "40P01"})  # SQLSTATE of a serialization failure and of a deadlock
MIGRATIONS = Path(__file__).parent / "migrations"


class Catalog:
    """The catalog at one SQLAlchemy URL (`sqlite+pysqlite:///…` or `postgresql+psycopg://…`)."""

    def __init__(self, url: str) -> None:
        self.url = make_url(url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self._reader = _engine(self.url.render_as_string(hide_password=False), self.is_sqlite, begin="BEGIN")
        self._writer = (
            _engine(self.url.render_as_string(hide_password=False), is_sqlite=True, begin="BEGIN IMMEDIATE")
            if self.is_sqlite
            else self._reader
        )
        self._read_session = sessionmaker(self._reader, expire_on_commit=False)
        self._write_session = sessionmaker(self._writer, expire_on_commit=False)
        self._groups = Groups(self._writer)
        news.install(self._write_session)
        tallies.install(self._write_session)
        repeats.install(self._write_session)

    @contextmanager
    def read(self) -> Iterator[Session]:
        """Give a session for questions; whatever it changes is rolled back."""
        with self._read_session() as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """Give a session for one unit: committed at the end, rolled back when an exception leaves it."""
        if not self.is_sqlite:
            with self._write_session.begin() as session:
                yield session
            return
        with repeats.undone_if_lost(), self._groups.turn() as connection:
            session = self._write_session(bind=connection, join_transaction_mode="create_savepoint")
            with session, session.begin():
                yield session

    def unit(self, work: Callable[[Session], _Found]) -> _Found:
        """Run *work* as one unit and return what it returns.

        Where the database ends it in favour of another unit (deadlock, serialization failure), it is run again from
        its beginning, five times at most: so it changes nothing but its session.
        """
        for tried in range(1, _TRIES):
            try:
                with self.write() as session:
                    return work(session)
            except OperationalError as error:
                if getattr(error.orig, "sqlstate", None) not in _LOST:
                    raise
            time.sleep(random.uniform(0, 0.01 * 2**tried))  # noqa: S311 (spreads those that met)
        with self.write() as session:
            return work(session)

    def migrate(self) -> None:
        """Bring the tables to this code's version (Alembic); safe to call at every start."""
        from alembic import command  # noqa: PLC0415 - 7 MB, and only whoever starts an installation needs it
        from alembic.config import Config  # noqa: PLC0415 - as above

        if self.is_sqlite and self.url.database:
            Path(self.url.database).parent.mkdir(parents=True, exist_ok=True)
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS))
        with self._writer.begin() as connection:
            if not self.is_sqlite:  # of several processes that start at once, one makes the tables
                connection.execute(select(func.pg_advisory_xact_lock(func.hashtextextended("migrate", 0))))
            config.attributes["connection"] = connection
            command.upgrade(config, "head")

    def close(self) -> None:
        """Return every connection."""
        self._reader.dispose()
        self._writer.dispose()


def _engine(url: str, is_sqlite: bool, begin: str) -> Engine:
    if not is_sqlite:
        # Asked before it is used: a database that was started again has closed every connection.
        engine = create_engine(url, pool_pre_ping=True, pool_size=10, max_overflow=20, hide_parameters=True)
        texts.install(engine)
        return engine
    # An error's text reaches logs: it names the statement, never the values in it.
    engine = create_engine(url, connect_args={"timeout": 10}, pool_size=20, max_overflow=40, hide_parameters=True)
    texts.install(engine)

    @event.listens_for(engine, "connect")
    def _configure(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
        if isinstance(connection, sqlite3.Connection):
            connection.isolation_level = None  # we say BEGIN ourselves
        # WAL: readers and the writer do not wait for each other. FULL: what is acknowledged is on the disk.
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=10000", "foreign_keys=ON"):
            connection.cursor().execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Any) -> None:
        connection.exec_driver_sql(begin)

    return engine

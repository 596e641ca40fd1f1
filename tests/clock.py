"""A catalog whose clock a test sets: every statement that asks for the time, on either database, is answered by it."""

import time
from dataclasses import dataclass
from sqlite3 import Connection
from typing import Any

from sqlalchemy import event, text

from infra.adapters.catalog.session import Catalog

_DAY_S = 86400.0
_EPOCH = 2440587.5  # Julian day of 1970
_POSTGRESQL = """
CREATE SCHEMA IF NOT EXISTS clock;
CREATE TABLE IF NOT EXISTS clock.wrong_by (seconds float8);
DELETE FROM clock.wrong_by;
INSERT INTO clock.wrong_by VALUES (0);
CREATE OR REPLACE FUNCTION clock.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE AS
  'SELECT pg_catalog.clock_timestamp() + make_interval(secs => seconds) FROM clock.wrong_by'
"""


@dataclass
class Clock:
    """The catalog's clock; `wrong_by` seconds later than the machine's, negative = earlier."""

    catalog: Catalog
    wrong_by: float = 0.0

    def __post_init__(self) -> None:
        if self.catalog.is_sqlite:
            for engine in (self.catalog._reader, self.catalog._writer):
                event.listen(engine, "connect", self._install)
        else:
            with self.catalog.write() as session:
                for statement in _POSTGRESQL.split(";\n"):
                    session.execute(text(statement))
            event.listen(self.catalog._reader, "connect", _search_ours_first)
        self.catalog.close()  # connections that are open already ask the machine

    def jump(self, seconds: float) -> None:
        """Set the clock forward, or back."""
        self.wrong_by += seconds
        if not self.catalog.is_sqlite:
            with self.catalog.write() as session:
                session.execute(text("UPDATE clock.wrong_by SET seconds = :seconds"), {"seconds": self.wrong_by})

    def _install(self, connection: Connection, _entry: Any) -> None:
        connection.create_function("julianday", 1, self._julian_day)

    def _julian_day(self, _when: str) -> float:
        return (time.time() + self.wrong_by) / _DAY_S + _EPOCH


def _search_ours_first(connection: Any, _entry: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET search_path = clock, public, pg_catalog")
    connection.commit()

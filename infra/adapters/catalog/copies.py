"""The catalog in one file, as it was at one moment: a SQLite database, whatever database the catalog is on.

A copy from SQLite is its own online backup, which waits for no writer and keeps none waiting. PostgreSQL's rows are
read in one REPEATABLE READ transaction. A copy can be put into either; PostgreSQL checks every reference at the end.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import (
    JSON,
    Column,
    Table,
    Text,
    bindparam,
    cast,
    func,
    insert,
    inspect,
    select,
    text,
    type_coerce,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Session

from configs.errors import ConflictError, CorruptError, InvalidRequestError
from infra.adapters.catalog.session import MIGRATIONS, Catalog
from infra.adapters.catalog.tables import Base

# Rows in memory at once, whatever the table's size.
_BATCH = 1000


def save_copy(catalog: Catalog, file: Path) -> str:
    """Write all of the catalog to the new SQLite file *file*; return the revision of its tables.

    Raises:
        CorruptError: If the database is damaged.
        InvalidRequestError: If PostgreSQL has the tables of another version of this code.
    """
    if catalog.is_sqlite:
        with catalog.read() as session:
            _online_backup(session, file)
    else:
        target = _file_catalog(file)
        target.migrate()
        with catalog.read() as session, target.write() as into:
            session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
            if _revision(session) != _revision(into):
                raise InvalidRequestError(
                    "The catalog's tables are of another version than this code: start this version on it once"
                )
            into.execute(text("PRAGMA defer_foreign_keys=ON"))  # rows refer to each other in circles
            _copy_rows(session, into)
        target.close()
    _into_one_file(file)
    return revision_of(file)


def revision_of(file: Path) -> str:
    """Return the revision of a copy's tables.

    Raises:
        CorruptError: If it has none: it is no copy of a catalog.
    """
    copy = _file_catalog(file)
    with copy.read() as session:
        found = _revision(session)
    copy.close()
    if found is None:
        raise CorruptError("The catalog's tables were never made, or the file is no catalog: start `teachback up` once")
    return found


def refuse_newer(revision: str) -> None:
    """Raise InvalidRequestError if this code does not know the revision, which a later version has made."""
    try:
        ScriptDirectory(str(MIGRATIONS)).get_revision(revision)
    except CommandError:
        msg = f"The catalog is of a later version (revision {revision}): use the version of Teachback that made it"
        raise InvalidRequestError(msg) from None


def refuse_filled(catalog: Catalog) -> None:
    """Raise ConflictError if there is anything in the catalog, or a file where its SQLite file would be."""
    if catalog.is_sqlite:
        filled = Path(catalog.url.database or "").exists()
    else:
        with catalog.read() as session:
            filled = inspect(session.connection()).has_table(Base.metadata.sorted_tables[0].name) and not _is_empty(
                session
            )
    if filled:
        raise ConflictError("The catalog that is to be restored into is there already: name a new, empty one")


def load_copy(file: Path, catalog: Catalog) -> None:
    """Put a copy's rows into an empty catalog on PostgreSQL, whole or not at all.

    The copy is brought to this code's version first.

    Raises:
        ConflictError: If the catalog has rows.
    """
    source = _file_catalog(file)
    source.migrate()
    refuse_filled(catalog)
    catalog.migrate()
    with source.read() as session, catalog.write() as into:
        _check_references_at_the_end(into)
        _copy_rows(session, into)
        _check_references_now(into)
        _go_on_counting(into)
    source.close()


def _online_backup(session: Session, file: Path) -> None:
    source = session.connection().connection.driver_connection
    if not isinstance(source, sqlite3.Connection):
        raise TypeError("SQLite's own driver was expected")
    with sqlite3.connect(file) as target:
        source.backup(target, pages=-1)  # in one step, so that writers need not stand still for it
        (said,) = target.execute("PRAGMA quick_check(1)").fetchone()
    target.close()
    if said != "ok":
        raise CorruptError(f"The catalog's database is damaged ({said}): restore it from an earlier backup")


def _into_one_file(file: Path) -> None:
    with sqlite3.connect(file) as connection:
        connection.execute("PRAGMA journal_mode=DELETE")
    connection.close()


def _file_catalog(file: Path) -> Catalog:
    return Catalog(f"sqlite+pysqlite:///{file}")


def _revision(session: Session) -> str | None:
    return MigrationContext.configure(session.connection()).get_current_revision()


def _is_empty(session: Session) -> bool:
    return all(session.execute(select(each).limit(1)).first() is None for each in Base.metadata.sorted_tables)


def _copy_rows(source: Session, target: Session) -> None:
    on_postgresql = target.get_bind().dialect.name == "postgresql"
    for each in Base.metadata.sorted_tables:
        filling = insert(each).values({c: _given(c, on_postgresql=on_postgresql) for c in each.columns})
        for rows in _batches(source, each):
            target.execute(filling, rows)


def _batches(source: Session, each: Table) -> Iterator[Sequence[dict[str, Any]]]:
    wanted = select(*(_taken(source, c).label(f"v_{c.name}") for c in each.columns))
    for rows in source.execute(wanted, execution_options={"yield_per": _BATCH}).mappings().partitions():
        yield [dict(row) for row in rows]


def _taken(source: Session, c: Column[Any]) -> Any:
    """Read a document as its text: as a value, JSON's null could not be told from no value."""
    if not isinstance(c.type, JSON):
        return c
    return type_coerce(c, Text) if source.get_bind().dialect.name == "sqlite" else cast(c, Text)


def _given(c: Column[Any], *, on_postgresql: bool) -> Any:
    if not isinstance(c.type, JSON):
        return bindparam(f"v_{c.name}", type_=c.type)
    given = bindparam(f"v_{c.name}", type_=Text())
    return cast(given, JSONB) if on_postgresql else given


def _check_references_at_the_end(session: Session) -> None:
    """Have foreign keys checked after the last row: rows refer to each other in circles."""
    _alter_references(session, "DEFERRABLE")
    session.execute(text("SET CONSTRAINTS ALL DEFERRED"))


def _check_references_now(session: Session) -> None:
    session.execute(text("SET CONSTRAINTS ALL IMMEDIATE"))
    _alter_references(session, "NOT DEFERRABLE")


def _alter_references(session: Session, how: str) -> None:
    connection = session.connection()
    quoted = connection.dialect.identifier_preparer.quote
    looker = inspect(connection)
    for each in Base.metadata.sorted_tables:
        for key in looker.get_foreign_keys(each.name):
            name = quoted(key["name"] or "")
            connection.execute(text(f"ALTER TABLE {quoted(each.name)} ALTER CONSTRAINT {name} {how}"))


def _go_on_counting(session: Session) -> None:
    """Let new rows' numbers follow the highest that there is."""
    for each in Base.metadata.sorted_tables:
        counted = each.autoincrement_column
        if counted is None:
            continue
        sequence = func.pg_get_serial_sequence(each.name, counted.name)
        highest = func.max(counted)
        session.execute(select(func.setval(sequence, func.coalesce(highest, 1), highest.is_not(None))))

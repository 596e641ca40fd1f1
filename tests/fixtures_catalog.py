"""The catalog on both databases: a test that asks for `catalog` runs on SQLite and on PostgreSQL.

Migrations run once per session and database; every test gets its own copy of the result.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import make_url

from infra.adapters.catalog.session import Catalog


@pytest.fixture(params=["sqlite", "postgresql"])
def catalog_url(request: pytest.FixtureRequest) -> str:
    """The URL of a migrated, empty catalog of this test's own, on each database in turn."""
    fixture = "sqlite_url" if request.param == "sqlite" else "postgresql_url"
    return str(request.getfixturevalue(fixture))


@pytest.fixture
def catalog(catalog_url: str) -> Iterator[Catalog]:
    """A migrated, empty catalog, on each database in turn."""
    opened = Catalog(catalog_url)
    yield opened
    opened.close()


@pytest.fixture
def sqlite_catalog(sqlite_url: str) -> Iterator[Catalog]:
    """A migrated, empty catalog on SQLite alone, for tests that do not touch SQL's edges."""
    opened = Catalog(sqlite_url)
    yield opened
    opened.close()


@pytest.fixture
def sqlite_url(sqlite_template: Path, tmp_path: Path) -> str:
    """The URL of a migrated, empty SQLite catalog."""
    copy = tmp_path / "catalog.db"
    shutil.copyfile(sqlite_template, copy)
    return f"sqlite+pysqlite:///{copy}"


@pytest.fixture
def postgresql_url(postgres_url: str, postgresql_template: str) -> Iterator[str]:
    """The URL of a migrated, empty PostgreSQL catalog."""
    with new_database(postgres_url, postgresql_template) as url:
        yield url


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with the migrated tables, to copy."""
    path = tmp_path_factory.mktemp("catalog") / "template.db"
    _migrate(f"sqlite+pysqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def postgresql_template(postgres_url: str) -> str:
    """The name of a database with the migrated tables, to copy."""
    name = "template_catalog"
    _administer(postgres_url, sql.SQL("CREATE DATABASE {}"), name)
    _migrate(f"{postgres_url}/{name}")
    return name


@contextmanager
def new_database(postgres_url: str, template: str) -> Iterator[str]:
    """Give the URL of a copy of *template*, there until the block ends."""
    name = f"t{uuid4().hex}"
    _administer(postgres_url, sql.SQL("CREATE DATABASE {} TEMPLATE {}"), name, template)
    try:
        yield f"{postgres_url}/{name}"
    finally:
        _administer(postgres_url, sql.SQL("DROP DATABASE {} WITH (FORCE)"), name)


def _migrate(url: str) -> None:
    catalog = Catalog(url)
    catalog.migrate()
    catalog.close()


def _administer(url: str, statement: sql.SQL, *names: str) -> None:
    address = make_url(url)
    with psycopg.connect(
        host=address.host, port=address.port, user=address.username, dbname="postgres", autocommit=True
    ) as connection:
        connection.execute(statement.format(*map(sql.Identifier, names)))

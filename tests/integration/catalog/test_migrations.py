"""Migrations make exactly the tables that the models describe, on both databases."""

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect

from infra.adapters.catalog.session import Catalog
from infra.adapters.catalog.tables import Base


def test_the_migrated_tables_are_those_of_the_models(catalog: Catalog) -> None:
    with catalog.read() as session:
        context = MigrationContext.configure(session.connection(), opts={"compare_type": True})

        assert compare_metadata(context, Base.metadata) == []


def test_every_foreign_key_of_the_models_is_in_the_database(catalog: Catalog) -> None:
    with catalog.read() as session:
        found = {
            (table, key["constrained_columns"][0], key["referred_table"])
            for table in Base.metadata.tables
            for key in inspect(session.connection()).get_foreign_keys(table)
        }

    wanted = {
        (table.name, key.parent.name, key.column.table.name)
        for table in Base.metadata.tables.values()
        for key in table.foreign_keys
    }
    assert found == wanted


def test_migrating_again_changes_nothing(catalog: Catalog) -> None:
    catalog.migrate()

    with catalog.read() as session:
        context = MigrationContext.configure(session.connection())
        assert context.get_current_heads() == ("0001",)

"""Alembic's entry: the connection is handed in by `Catalog.migrate`, the tables come from our models."""

from alembic import context

from infra.adapters.catalog.tables import Base

connection = context.config.attributes["connection"]
# SQLite alters a table by making it anew, which Alembic calls batch mode.
context.configure(
    connection=connection, target_metadata=Base.metadata, render_as_batch=connection.dialect.name == "sqlite"
)
with context.begin_transaction():
    context.run_migrations()

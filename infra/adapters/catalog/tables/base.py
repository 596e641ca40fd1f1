"""What every table shares: names of constraints, ids, times and JSON columns."""

from typing import Any
from uuid import uuid4

from sqlalchemy import JSON, Double, MetaData, String
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

ID = String(36)
NAME = String(512)
HASH = String(64)
STATE = String(16)
METHOD = String(48)
JSON_TEXT = JSON().with_variant(JSONB(), "postgresql")


class Base(DeclarativeBase):
    """The root of all tables."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(column_0_N_label)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {dict[str, Any]: JSON_TEXT, list[Any]: JSON_TEXT, float: Double()}  # noqa: RUF012 - SQLAlchemy reads it from the class


class now(FunctionElement[float]):  # noqa: N801 - used like the SQL function it is
    """The catalog's clock in seconds since 1970, read in the statement: workers' clocks may differ."""

    type = Double()
    inherit_cache = True


@compiles(now, "sqlite")
def _now_sqlite(_element: now, _compiler: SQLCompiler, **_: Any) -> str:
    return "((julianday('now') - 2440587.5) * 86400.0)"


@compiles(now, "postgresql")
def _now_postgresql(_element: now, _compiler: SQLCompiler, **_: Any) -> str:
    return "EXTRACT(EPOCH FROM clock_timestamp())::float8"


def new_id() -> str:
    """Return a fresh random id (UUID 4), the form that both dialects show."""
    return str(uuid4())


__all__ = ["HASH", "ID", "JSON_TEXT", "METHOD", "NAME", "STATE", "Base", "new_id", "now"]

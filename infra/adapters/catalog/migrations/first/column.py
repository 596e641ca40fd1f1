"""What its modules share."""

from collections.abc import Callable, Mapping

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.types import TypeEngine

Creates = Mapping[str, Callable[[], None]]


def json() -> TypeEngine[object]:
    """Return the type of a JSON column: PostgreSQL's JSONB can be compared and indexed, its JSON cannot."""
    return sa.JSON().with_variant(postgresql.JSONB(), "postgresql")

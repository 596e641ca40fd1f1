"""What no database keeps as text is refused before it is sent: half of a surrogate pair, and NUL on PostgreSQL."""

from collections.abc import Iterator, Mapping
from typing import Any

from psycopg.types.json import Json, Jsonb
from sqlalchemy import Engine, event

from configs.errors import InvalidRequestError

_NO_TEXT = "A text holds what is no Unicode character, or NUL: leave it out"


def install(engine: Engine) -> None:
    """Have every statement of this engine refuse such values, wherever they came from."""
    nul = engine.dialect.name != "sqlite"

    @event.listens_for(engine, "before_cursor_execute")
    def _check(_connection: Any, _cursor: Any, _statement: str, values: Any, _context: Any, _many: bool) -> None:
        for value in _flat(values):
            if isinstance(value, str) and ((nul and "\0" in value) or not _is_text(value)):
                raise InvalidRequestError(_NO_TEXT)


def _flat(values: Any) -> Iterator[Any]:
    """Yield the texts and numbers in one statement's parameters, or in several statements'; a document's, too."""
    if isinstance(values, (Json, Jsonb)):
        yield from _flat(values.obj)
    elif isinstance(values, Mapping):
        yield from values
        yield from _flat(list(values.values()))
    elif isinstance(values, (tuple, list)):
        for value in values:
            yield from _flat(value)
    else:
        yield values


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True

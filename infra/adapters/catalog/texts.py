"""What no database keeps as text is refused in our words: half of a surrogate pair, and NUL on PostgreSQL."""

from sqlalchemy import Engine, event
from sqlalchemy.engine import ExceptionContext

from configs.errors import InvalidRequestError

_NO_TEXT = "A text holds what is no Unicode character, or NUL: leave it out"
_NUL = "cannot contain NUL"  # said by the driver, before the server is asked
_STATES = frozenset({"22021", "22P05", "22P02"})  # SQLSTATEs: no character; none that text can hold; no JSON by that


def install(engine: Engine) -> None:
    """Have every statement of this engine refuse such values, wherever they came from."""

    @event.listens_for(engine, "handle_error")
    def _say(context: ExceptionContext) -> None:
        error = context.original_exception
        state = getattr(error, "sqlstate", None)
        if (
            isinstance(error, UnicodeEncodeError)
            or state in _STATES
            or (context.sqlalchemy_exception and _NUL in str(error))
        ):
            raise InvalidRequestError(_NO_TEXT) from None

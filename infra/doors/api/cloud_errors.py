"""The MONAI Cloud dialect's three shapes of an error: of a handler, of fields that cannot be read, of the framework."""

from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Any

from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from configs.errors import InvalidRequestError, NotFoundError, TeachbackError

BAD_ID = "bad_id"
PLACES = frozenset({"body", "path", "query", "header"})
SCHEMA_CODE = 1  # what the original gives for an id or a field that cannot be read
_THINGS = frozenset({"action", "dataset", "experiment", "job", "workspace"})
# Answers quote what was sent, and that may be a megabyte.
_SHOWN_CHARS = 100


class CloudError(BaseModel):
    """An error as the MONAI Cloud dialect answers it."""

    error_desc: str
    error_code: int | None = Field(default=None, description="Not where a field of the request cannot be read.")


class FrameworkError(BaseModel):
    """No handler was reached: an unknown route or method, a body that is no JSON."""

    code: int
    name: str
    description: str


class ClusterSpecError(InvalidRequestError):
    """A job's specs name a cluster: callers choose none."""


CODES: dict[type[TeachbackError], int] = {ClusterSpecError: 3}
"""Codes other than the status."""


def in_words_of_old(error: TeachbackError) -> str:
    """Return what is said of an error in this dialect, whose clients know a missing thing by these words."""
    if type(error) is NotFoundError and error.kind in _THINGS:
        return f"{error.kind.capitalize()} not found{error.hint and '.'}{error.hint}"
    return str(error)


def refused_fields(errors: Sequence[Any]) -> JSONResponse:
    """Answer what cannot be read as the original does: the fields and their reasons as the text of a dict."""
    for error in errors:
        if error["type"] == "json_invalid":
            return of_the_framework(HTTPStatus.BAD_REQUEST, f"Failed to decode JSON object: {reason(error)}")
        if error["type"] == BAD_ID:
            content = CloudError(error_desc=str(error["msg"]), error_code=SCHEMA_CODE)
            return JSONResponse(content.model_dump(), HTTPStatus.BAD_REQUEST)
    content = CloudError(error_desc=by_field(errors))
    return JSONResponse(content.model_dump(exclude_none=True), HTTPStatus.BAD_REQUEST)


def by_field(errors: Sequence[Any]) -> str:
    """Return fields and why each is refused as the text of a dict."""
    fields: dict[int | str, Any] = {}
    for error in errors:
        *path, last = [part for part in error["loc"] if part not in PLACES] or ["_schema"]
        inner = fields
        for part in path:
            inner = inner.setdefault(part, {}) if isinstance(inner.get(part, {}), dict) else inner
        found = inner.setdefault(last, [])
        said = found if isinstance(found, list) else found.setdefault("_schema", [])
        if reason(error) not in said:  # what two dependencies read is refused twice
            said.append(reason(error))
    return str(fields)


def of_the_framework(status: HTTPStatus, said: str, headers: dict[str, str] | None = None) -> JSONResponse:
    """Answer in the framework's shape."""
    content = FrameworkError(code=status, name=status.phrase, description=said)
    return JSONResponse(content.model_dump(), status, headers)


_REASONS: dict[str, Callable[[dict[str, Any]], str]] = {
    "extra_forbidden": lambda _: "Unknown field.",
    "missing": lambda _: "Missing data for required field.",
    # Of a few words that are told apart: no such field holds a secret.
    "literal_error": lambda error: f"Invalid enum member {str(error['input'])[:_SHOWN_CHARS]}",
    "int_parsing": lambda _: "Not a valid integer.",
    "int_type": lambda _: "Not a valid integer.",
    "string_type": lambda _: "Not a valid string.",
    "bool_parsing": lambda _: "Not a valid boolean.",
    "bool_type": lambda _: "Not a valid boolean.",
    "dict_type": lambda _: "Not a valid mapping type.",
    "list_type": lambda _: "Not a valid list.",
}


def reason(error: dict[str, Any]) -> str:
    """Return why one field was refused, without its value: that may be secret."""
    say = _REASONS.get(error["type"])
    return say(error) if say else str(error["msg"])

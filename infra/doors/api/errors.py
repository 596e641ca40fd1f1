"""The one place where an error becomes a status code, and where a dialect gives it its shape."""

import logging
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ValidationError
from starlette.exceptions import HTTPException

from configs.errors import (
    BusyError,
    ConflictError,
    CorruptError,
    ForbiddenError,
    HostError,
    InvalidRequestError,
    NotFoundError,
    StorageFullError,
    SupersededError,
    TeachbackError,
    UnauthorizedError,
    UpstreamError,
    is_full,
)
from infra.adapters.catalog.repeats import RepeatedKeyError
from infra.doors.api.cloud_errors import (
    BAD_ID,
    CODES,
    PLACES,
    SCHEMA_CODE,
    CloudError,
    FrameworkError,
    in_words_of_old,
    of_the_framework,
    reason,
    refused_fields,
)

STATUS: dict[type[TeachbackError], HTTPStatus] = {
    NotFoundError: HTTPStatus.NOT_FOUND,
    ConflictError: HTTPStatus.CONFLICT,
    InvalidRequestError: HTTPStatus.BAD_REQUEST,
    UnauthorizedError: HTTPStatus.UNAUTHORIZED,
    ForbiddenError: HTTPStatus.FORBIDDEN,
    BusyError: HTTPStatus.SERVICE_UNAVAILABLE,
    UpstreamError: HTTPStatus.BAD_GATEWAY,
    CorruptError: HTTPStatus.INTERNAL_SERVER_ERROR,
    StorageFullError: HTTPStatus.INSUFFICIENT_STORAGE,
    SupersededError: HTTPStatus.CONFLICT,
    HostError: HTTPStatus.BAD_REQUEST,
    TeachbackError: HTTPStatus.INTERNAL_SERVER_ERROR,
}
# The MONAI Cloud dialect knows no 409, but for the header that is ours.
CLOUD_STATUS: dict[type[TeachbackError], HTTPStatus] = {
    **STATUS,
    ConflictError: HTTPStatus.BAD_REQUEST,
    RepeatedKeyError: HTTPStatus.CONFLICT,
}
CLOUD_PREFIX = "/api/v1"
_TERSE = frozenset({"extra_forbidden", "missing"})  # what pydantic says of these names its own words for them
_OF_THE_FRAMEWORK = frozenset({HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED})
# The error's own text stays inside: it may name images, people or addresses.
_INTERNAL = "Something failed inside; the server's log has it under this request's id"
_FULL = "The server's disk is full, and nothing of this request was kept: free some room there, then send it again"
_log = logging.getLogger(__name__)


class Detail(BaseModel):
    """An error as the MONAI Label dialect and our own routes answer it."""

    detail: str


def install(app: FastAPI) -> None:
    """Answer every error that is raised on purpose in its caller's dialect; all others as 500 without their text."""
    app.add_exception_handler(TeachbackError, raised)
    app.add_exception_handler(RequestValidationError, _refused_request)
    app.add_exception_handler(ValidationError, _refused_spec)
    app.add_exception_handler(HTTPException, _framework)
    app.add_exception_handler(Exception, _unforeseen)


def answers(cloud: bool, *statuses: HTTPStatus) -> dict[int | str, dict[str, Any]]:
    """Return the error answers of a router, for its OpenAPI description.

    Outside the MONAI Cloud dialect what cannot be read is 422, in our words and not in FastAPI's own form.
    """
    model = CloudError | FrameworkError if cloud else Detail
    told = statuses if cloud else (*statuses, HTTPStatus.UNPROCESSABLE_ENTITY)
    return {int(status): {"model": model, "description": status.phrase} for status in told}


def answer(
    path: str, status: int, text: str, *, code: int | None = None, headers: dict[str, str] | None = None
) -> JSONResponse:
    """Return an error in the dialect that the path belongs to."""
    if path.startswith(CLOUD_PREFIX + "/"):
        content = CloudError(error_desc=text, error_code=code if code is not None else status).model_dump()
    else:
        content = Detail(detail=text).model_dump()
    return JSONResponse(content, status_code=status, headers=headers)


def raised(request: Request, error: Exception) -> JSONResponse:
    """Answer an error of ours in its caller's dialect."""
    if not isinstance(error, TeachbackError):
        raise error
    # By the path and not by the router: middleware refuses before there is one.
    table = CLOUD_STATUS if request.url.path.startswith(CLOUD_PREFIX + "/") else STATUS
    status = next(table[kind] for kind in type(error).__mro__ if kind in table)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        _log.warning("%s: %s", type(error).__name__, error)
    headers = {}
    # The one refusal that passes by itself: clients that know the header come back then.
    if isinstance(error, BusyError):
        headers["Retry-After"] = str(error.retry_after_s)
    if status is HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
        return answer(request.url.path, status, f"Unauthorized: {error}", code=SCHEMA_CODE, headers=headers)
    if table is STATUS:
        return answer(request.url.path, status, str(error), headers=headers)
    return answer(request.url.path, status, in_words_of_old(error), code=CODES.get(type(error)), headers=headers)


def _refused_request(request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, RequestValidationError):
        raise error
    if _is_cloud(request):
        return refused_fields(error.errors())
    return answer(request.url.path, HTTPStatus.UNPROCESSABLE_ENTITY, sentence(error.errors()))


def _refused_spec(request: Request, error: Exception) -> JSONResponse:
    """Answer for a spec that a dialect built from its own words, after FastAPI had checked those."""
    if not isinstance(error, ValidationError):
        raise error
    found = error.errors(include_url=False)
    if _is_cloud(request):
        return refused_fields(found)
    return answer(request.url.path, HTTPStatus.BAD_REQUEST, sentence(found))


def _framework(request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, HTTPException):
        raise error
    if is_full(error.__cause__):  # FastAPI calls a body that it cannot put down the caller's mistake
        return answer(request.url.path, HTTPStatus.INSUFFICIENT_STORAGE, _FULL)
    headers = dict(error.headers) if error.headers else None
    if _is_cloud(request) and error.status_code in _OF_THE_FRAMEWORK:
        return of_the_framework(HTTPStatus(error.status_code), str(error.detail), headers)
    return answer(request.url.path, error.status_code, str(error.detail), headers=headers)


def _unforeseen(request: Request, error: Exception) -> JSONResponse:
    if is_full(error):
        _log.error("the disk is full: %s", type(error).__name__)
        return answer(request.url.path, HTTPStatus.INSUFFICIENT_STORAGE, _FULL)
    _log.error("unforeseen %s", type(error).__name__, exc_info=error)
    return answer(request.url.path, HTTPStatus.INTERNAL_SERVER_ERROR, _INTERNAL)


def _is_cloud(request: Request) -> bool:
    return request.url.path.startswith(CLOUD_PREFIX + "/")


def sentence(errors: Sequence[Any]) -> str:
    """Return what was refused, field by field, without the values: they may be secret."""
    return "; ".join(map(_one, errors))


def _one(error: dict[str, Any]) -> str:
    if error["type"] == BAD_ID:
        return str(error["msg"])
    return f"{_field(error['loc'])}: {reason(error) if error['type'] in _TERSE else error['msg']}"


def _field(place: Sequence[int | str]) -> str:
    known = [str(part) for part in place if part not in PLACES]
    return ".".join(known) or "body"

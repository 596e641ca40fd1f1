"""The slot's HTTP application: `POST /predict`, `GET /health`."""

import hmac
from typing import Annotated, Protocol

from fastapi import FastAPI, Header, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from configs.errors import (
    BusyError,
    ConflictError,
    HostDiedError,
    HostError,
    InvalidRequestError,
    NotFoundError,
    TeachbackError,
    UnauthorizedError,
    UpstreamError,
)
from configs.wire.slot import (
    CACHED_HEADER,
    JSON_TYPE,
    MEDIA_TYPES,
    SCORE_HEADER,
    SECONDS_HEADER,
    SEQUENCE_HEADER,
    TOKEN_HEADER,
    VERSION_HEADER,
    SlotError,
    SlotErrorCode,
    SlotHealth,
    SlotPredict,
)
from infra.doors.realtime.answers import Answer, Ticket
from infra.doors.realtime.lanes import DrainingError

HOST_RETRY_S = 5
# The first that fits counts.
_REFUSALS: tuple[tuple[type[TeachbackError], int, SlotErrorCode], ...] = (
    (DrainingError, 503, "draining"),
    (BusyError, 503, "busy"),
    (HostDiedError, 503, "busy"),
    (UnauthorizedError, 401, "unauthorized"),
    (NotFoundError, 404, "not_found"),
    (InvalidRequestError, 400, "bad_input"),
    (ConflictError, 400, "bad_input"),
    (HostError, 400, "failed"),
    (UpstreamError, 502, "upstream"),
    (TeachbackError, 500, "failed"),
)


class Serving(Protocol):
    """What answers the requests."""

    def accept(self, request: SlotPredict) -> Ticket:
        """Let a live request in and bind it to the version served now; raises BusyError."""
        ...

    def answer(self, ticket: Ticket) -> Answer:
        """Do an accepted request; it leaves, whatever comes of it."""
        ...

    def offer(self, request: SlotPredict) -> None:
        """Take a background request for later; raises BusyError when there is no room."""
        ...

    def health(self) -> SlotHealth:
        """Say how the slot is."""
        ...


def create_app(serving: Serving, token: str) -> FastAPI:
    """Return the application; every call must carry the token."""
    app = FastAPI(title="Teachback realtime slot", docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(_NoPages)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1"])
    app.add_exception_handler(TeachbackError, _refused)
    app.add_exception_handler(RequestValidationError, _malformed)
    shown = Annotated[str, Header(alias=TOKEN_HEADER)]

    def check(sent: str) -> None:
        """Compare in constant time: how long a refusal takes tells nothing of the token."""
        if not hmac.compare_digest(sent.encode(), token.encode()):
            raise UnauthorizedError("This call does not carry the slot's token: read its row again")

    @app.post("/predict")
    async def predict(request: SlotPredict, sent: shown = "") -> Response:
        """Answer with a label map, or with JSON of any other answer; at once with 202 where it is only wanted ahead."""
        check(sent)
        if request.background:
            serving.offer(request)
            return Response(status_code=202)
        ticket = serving.accept(request)
        answer = await run_in_threadpool(serving.answer, ticket)
        media_type = MEDIA_TYPES[request.form] if answer.kind == "mask" else JSON_TYPE
        return Response(answer.content, media_type=media_type, headers=_headers(answer))

    @app.get("/health")
    async def health(sent: shown = "") -> SlotHealth:
        """Say what is served and how much waits."""
        check(sent)
        return serving.health()

    return app


class _NoPages:
    """Refuses whatever a browser's page sends: this server has no pages, so every Origin is foreign."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse, or hand on."""
        foreign = scope["type"] == "http" and any(name == b"origin" for name, _ in scope["headers"])
        await (Response(status_code=403) if foreign else self._app)(scope, receive, send)


def _headers(answer: Answer) -> dict[str, str]:
    headers = {
        VERSION_HEADER: answer.version,
        SEQUENCE_HEADER: str(answer.seq),
        CACHED_HEADER: str(answer.cached).lower(),
        SECONDS_HEADER: f"{answer.seconds:.4f}",
    }
    if answer.score is not None:
        headers[SCORE_HEADER] = repr(answer.score)
    return headers


async def _refused(_: Request, error: Exception) -> JSONResponse:
    """Answer with the first refusal that fits; an image that is not there is named by its key alone."""
    status, code = next((status, code) for kind, status, code in _REFUSALS if isinstance(error, kind))
    message = error.name if isinstance(error, NotFoundError) else str(error)
    retry_s = error.retry_after_s if isinstance(error, BusyError) else HOST_RETRY_S
    headers = {"Retry-After": str(retry_s)} if status == 503 else {}  # noqa: PLR2004 - as in the table
    return JSONResponse(SlotError(code=code, message=message).model_dump(), status, headers)


async def _malformed(_: Request, error: Exception) -> JSONResponse:
    """Name the fields only: what was sent may hold anything."""
    fields = (
        [".".join(map(str, found["loc"])) for found in error.errors()]
        if isinstance(error, RequestValidationError)
        else []
    )
    message = f"These fields of the request don't fit: {', '.join(fields)}"
    return JSONResponse(SlotError(code="bad_input", message=message).model_dump(), 400)

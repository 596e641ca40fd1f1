"""`Idempotency-Key`: whoever repeats a POST gets the first one's answer, and nothing is done twice.

The key is noted in the unit of the effect; the answer, sealed since it may show a new secret, once it is made.
"""

from http import HTTPStatus

import anyio
from anyio.to_thread import run_sync
from starlette.datastructures import Headers, State
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from configs.errors import InvalidRequestError, TeachbackError
from infra.adapters.catalog.repeats import Once, once
from infra.doors.api.errors import raised
from infra.services import repeats
from infra.services.repeats import MAX_KEY_CHARS, Answered, Repeat
from infra.wiring import Parts

HEADER = "idempotency-key"
REPLAYED = "Idempotency-Replayed"
_POLLS, _POLL_S = 100, 0.1


class Repeats:
    """ASGI middleware.

    Args:
        app: The application.
        state: Where the application keeps its parts.
    """

    def __init__(self, app: ASGIApp, state: State) -> None:
        self._app = app
        self._state = state

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer from what is kept, or hand on and keep the answer."""
        headers = Headers(scope=scope) if scope["type"] == "http" and scope["method"] == "POST" else Headers()
        key, secret = headers.get(HEADER, ""), headers.get("authorization", "").partition(" ")[2]
        if not key or not secret or headers.get("content-type", "").startswith("multipart/"):
            await self._app(scope, receive, send)
            return
        if len(key) > MAX_KEY_CHARS:
            error = InvalidRequestError(f"An Idempotency-Key has up to {MAX_KEY_CHARS} characters, not {len(key)}")
            await raised(Request(scope), error)(scope, receive, send)
            return
        # Read here, within the size that the guard allows, since the key is bound to what was asked.
        body = await _read(receive)
        parts: Parts = self._state.parts
        repeat = Repeat.of_body(key, scope["method"], scope["path"], body)
        try:
            asked = await run_sync(repeats.opened, parts, secret, repeat)
        except TeachbackError as error:
            await raised(Request(scope), error)(scope, receive, send)
            return
        if isinstance(asked, Once):
            await self._first(scope, _again(body, receive), send, asked)
        else:
            await _replay(asked)(scope, receive, send)

    async def _first(self, scope: Scope, receive: Receive, send: Send, asked: Once) -> None:
        parts: Parts = self._state.parts
        said: list[Message] = []

        async def keep(message: Message) -> None:
            """Hold the answer back: it is sent once it can be repeated."""
            said.append(message)

        # A context variable reaches the threads in which routes run, so units note the key without being told.
        with once(asked):
            await self._app(scope, receive, keep)
        if asked.repeated and (known := await self._awaited(asked)) is not None:
            await _replay(known)(scope, receive, send)
            return
        if (answered := _answered(said)) is not None and (asked.noted or answered.status < HTTPStatus.MULTIPLE_CHOICES):
            await run_sync(repeats.keep_answer, parts, asked, answered)
        for message in said:
            await send(message)

    async def _awaited(self, asked: Once) -> Answered | None:
        """Return the answer to the request that came first, if it is made within seconds."""
        for _ in range(_POLLS):
            known = await run_sync(repeats.answer_of, self._state.parts, asked.org, asked.key)
            if known is not None:
                return known
            await anyio.sleep(_POLL_S)
        return None


def _answered(said: list[Message]) -> Answered | None:
    """Return an answer that can be kept: JSON, or nothing. A segmentation is not: asking again changes nothing."""
    start = next(message for message in said if message["type"] == "http.response.start")
    content_type = Headers(raw=start["headers"]).get("content-type", "")
    body = b"".join(message.get("body", b"") for message in said if message["type"] == "http.response.body")
    if body and not content_type.startswith("application/json"):
        return None
    return Answered(status=start["status"], content_type=content_type, body=body.decode())


def _replay(known: Answered) -> Response:
    headers = {REPLAYED: "true", **({"Content-Type": known.content_type} if known.content_type else {})}
    return Response(known.body, status_code=known.status, headers=headers)


async def _read(receive: Receive) -> bytes:
    taken = bytearray()
    while True:
        message = await receive()
        taken += message.get("body", b"")
        if not message.get("more_body"):
            return bytes(taken)


def _again(body: bytes, receive: Receive) -> Receive:
    """Return `receive` that gives the body once more."""
    waiting = [body]

    async def given() -> Message:
        """Give the body whole, then what comes after it: that the caller hangs up."""
        if waiting:
            return {"type": "http.request", "body": waiting.pop(), "more_body": False}
        return await receive()

    return given

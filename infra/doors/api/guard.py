"""What every request passes before anything reads it: Host, Origin, size; and what is logged of it.

The access log names the endpoint, never the path: paths and queries name images.
"""

import logging
import re
import time
from collections.abc import Collection
from contextlib import ExitStack, nullcontext
from http import HTTPStatus
from urllib.parse import urlsplit
from uuid import uuid4

from anyio.to_thread import run_sync
from starlette.datastructures import Headers, MutableHeaders, State
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from configs.errors import InvalidRequestError, UnauthorizedError
from configs.settings import Settings
from configs.wire.slot import SEQUENCE_HEADER
from infra.doors.api.errors import CLOUD_PREFIX, answer
from infra.doors.api.idle import is_call
from infra.doors.api.monai_label.scope import key_in
from infra.doors.api.monitoring import Meter
from infra.doors.api.roles import name_of
from infra.services import people

# JSON is parsed whole into memory, many times its size.
MAX_JSON_BYTES = 32 * 2**20
# Uploads go to the disk as they come; a CT of 512 x 512 x 2,000 in float64 fits.
MAX_UPLOAD_BYTES = 4 * 2**30
UPLOADS = ("/label/", "/datastore", "/infer/", "/session", "/model/")
IMPORT = re.compile(r"/api/teachback/v1/datasets/[^/]+/labels:import")
REQUEST_ID_HEADER = "X-Request-ID"
_CHANGING = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]"})
# A proxy on this machine makes everybody look local: it is told by what it adds.
_PROXIED = frozenset({"forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-real-ip"})
_EVERYWHERE = frozenset({"0.0.0.0", "::"})  # noqa: S104 - compared with, not bound to
_GIVEN_ID = re.compile(r"[\w-]{8,64}")
_log = logging.getLogger("teachback.access")


def hosts_of(settings: Settings) -> frozenset[str]:
    """Return the Host names that this server answers to, without ports."""
    if settings.open_here:
        return _LOOPBACK  # a page anywhere could have its own name lead here
    named = {name.strip().lower() for name in settings.allowed_hosts.split(",") if name.strip()}
    bound = f"[{settings.host}]" if ":" in settings.host else settings.host
    return _LOOPBACK | named | (set() if settings.host in _EVERYWHERE else {bound})


def origins_of(settings: Settings) -> frozenset[str]:
    """Return the origins, besides our own, whose pages may call this server."""
    if settings.open_here:
        return frozenset()  # there a page would need no key
    named = {origin.strip().lower().rstrip("/") for origin in settings.cors_origins.split(",") if origin.strip()}
    for origin in named:
        parsed = urlsplit(origin)
        if parsed.scheme not in {"http", "https"} or origin != f"{parsed.scheme}://{parsed.netloc}" or "*" in origin:
            raise InvalidRequestError(
                f"TEACHBACK_CORS_ORIGINS names {origin!r}: give origins as https://viewer.example, a pattern is none"
            )
    return frozenset(named)


def is_local(scope: Scope) -> bool:
    """Say whether a request comes from this machine, and not through a proxy on it."""
    client = scope.get("client")
    direct = _PROXIED.isdisjoint(name.decode("latin-1").lower() for name, _ in scope["headers"])
    return direct and client is not None and client[0] in {"127.0.0.1", "::1"}


class Guard:
    """ASGI middleware around the whole application.

    Args:
        app: The application.
        hosts: Host names that are ours.
        origins: Whose pages may change things here besides our own: with a key, for their cookies are dropped.
        meter: Counts what was answered.
        state: Where the application keeps its parts.
    """

    def __init__(
        self, app: ASGIApp, hosts: Collection[str], origins: Collection[str], meter: Meter, state: State
    ) -> None:
        self._app = app
        self._hosts, self._origins = frozenset(hosts), frozenset(origins)
        self._meter = meter
        self._state = state

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse, or hand on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, seen = time.perf_counter(), Headers(scope=scope)
        request_id = _request_id(seen)
        status, inference = 0, False

        async def tell(message: Message) -> None:
            """Send on with our headers, and note for the meter what is answered."""
            nonlocal status, inference
            if message["type"] == "http.response.start":
                status = message["status"]
                if is_call(_endpoint(scope), status):
                    during.enter_context(self._state.calls.one())
                headers = MutableHeaders(scope=message)
                inference = SEQUENCE_HEADER in headers
                headers.update(_reply_headers(request_id))
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        with ExitStack() as during:
            # Before routing: a refused Host or Origin is to learn nothing of what there is.
            refusal = self._refusal(scope, seen)
            if refusal is None and _is_upload(scope, seen):
                refusal = await run_sync(self._stranger, key_in(scope["path"]) or _bearer(seen))
                during.enter_context(self._state.calls.one() if refusal is None else nullcontext())
            if refusal is not None:
                await answer(scope["path"], *refusal)(scope, receive, tell)
            else:
                _read_as_json(scope, seen)
                if seen.get("origin") in self._origins:
                    # A login in the same browser is no consent to what another page asks for.
                    del MutableHeaders(scope=scope)["cookie"]
                await self._app(scope, _limited(receive, _limit(scope, seen)), tell)
        seconds, endpoint = time.perf_counter() - began, _endpoint(scope)
        self._meter.count(endpoint, status, seconds, inference=inference)
        _log.info("%s %s %d %.1f ms %s", scope["method"], endpoint, status, seconds * 1000, request_id)

    def _refusal(self, scope: Scope, headers: Headers) -> tuple[int, str] | None:
        host = headers.get("host", "")
        if _name(host) not in self._hosts:
            said = "The Host header names none of this server's names: the operator adds it to TEACHBACK_ALLOWED_HOSTS"
            return HTTPStatus.BAD_REQUEST, said
        if self._state.parts.settings.open_here and not is_local(scope):
            said = "This server asks for no key, and so answers this machine alone, without a proxy: start it with keys"
            return HTTPStatus.FORBIDDEN, said
        origin = headers.get("origin")
        foreign = origin is not None and urlsplit(origin).netloc.lower() != host.lower()
        if scope["method"] in _CHANGING and foreign and origin not in self._origins:
            said = (
                "A page of another origin may not change anything here: the operator names it, TEACHBACK_CORS_ORIGINS"
            )
            return HTTPStatus.FORBIDDEN, said
        length = headers.get("content-length", "")
        if length.isdecimal() and int(length) > _limit(scope, headers):
            return HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"The body is larger than {_limit(scope, headers)} bytes"
        return None

    def _stranger(self, secret: str) -> tuple[int, str] | None:
        """Refuse an upload of nobody's before it is read: a form is parsed, on disk, before a route asks for a key."""
        if not secret and self._state.parts.settings.open_here:
            return None
        try:
            people.identify(self._state.parts, secret)
        except UnauthorizedError as error:
            return HTTPStatus.UNAUTHORIZED, f"Unauthorized: {error}"
        return None


def _bearer(headers: Headers) -> str:
    return headers.get("authorization", "").partition(" ")[2]


def _endpoint(scope: Scope) -> str:
    """Return the name of the function that answered, such as `monai_cloud.jobs.get_job`; `-` = none was reached."""
    found = scope.get("endpoint")
    return name_of(found) if callable(found) and hasattr(found, "__name__") else "-"


def _request_id(headers: Headers) -> str:
    # It goes into the log: nobody outside may write lines of their own there.
    given = headers.get(REQUEST_ID_HEADER, "")
    return given if _GIVEN_ID.fullmatch(given) else uuid4().hex


def _reply_headers(request_id: str) -> dict[str, str]:
    return {REQUEST_ID_HEADER: request_id, "X-Content-Type-Options": "nosniff"}


def _name(host: str) -> str:
    """Return a Host header without its port, in lower case."""
    return re.sub(r":\d+$", "", host).lower()


def _read_as_json(scope: Scope, headers: Headers) -> None:
    """Have a body of the MONAI Cloud dialect read as JSON whatever its Content-Type: its guides send none.

    Also that of a GET, which a download may have.
    """
    if scope["path"].startswith(CLOUD_PREFIX + "/") and not _is_form(headers):
        MutableHeaders(scope=scope)["content-type"] = "application/json"


def _is_form(headers: Headers) -> bool:
    return headers.get("content-type", "").startswith("multipart/")


def _is_upload(scope: Scope, headers: Headers) -> bool:
    """Whether a file comes, which goes to disk; every other route has the whole body in memory."""
    path = scope["path"]
    return _is_form(headers) and (path.startswith(UPLOADS) or IMPORT.fullmatch(path) is not None)


def _limit(scope: Scope, headers: Headers) -> int:
    return MAX_UPLOAD_BYTES if _is_upload(scope, headers) else MAX_JSON_BYTES


def _limited(receive: Receive, limit: int) -> Receive:
    """Return `receive` that breaks off a body which grows beyond the limit: its length may not have been said."""
    taken = 0

    async def counted() -> Message:
        """Give on a piece of the body, as long as all pieces are within the limit."""
        nonlocal taken
        message = await receive()
        taken += len(message.get("body", b""))
        if taken > limit:
            raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"The body is larger than {limit} bytes")
        return message

    return counted

"""Hands a request on to a server on this machine's loopback, and its answer back.

Neither side's secrets cross: the visitor's key or cookie stays here, and what the server asks of its clients is added
here. Headers pass by name, for what is not known to be harmless is not needed.
"""

import re
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus

import httpx
from fastapi import FastAPI
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from configs.errors import ForbiddenError, UpstreamError
from infra.adapters.security.tls import authorities

# A busy Prefect on SQLite was seen to stall for 16 s.
_TIMEOUT = httpx.Timeout(60, connect=5)
_ASKED = ("accept", "accept-encoding", "content-type", "if-none-match", "if-modified-since", "range", "user-agent")
_ASKED_PREFIXES = ("x-prefect-", "x-mlflow-")
_TOLD = ("content-type", "content-encoding", "content-disposition", "content-length", "content-range", "accept-ranges")
_KEPT = ("etag", "last-modified")
# A path that is read alike by whoever allows it and whoever serves it: no second decoding, no way up, no empty folder.
_PLAIN = re.compile(r"(?!.*//)(?!.*/\.{1,2}(/|$))[^%\\?#\x00-\x1f\x7f]*")
_HASHED_NAME = re.compile(r"/assets/.+-[\w-]{8}\.\w+$|/static/(js|css|media)/.+\.[0-9a-f]{8}\.")
# Both pages set styles on elements and make workers and pictures from data; neither needs a script that is inline.
_POLICY = (
    "default-src 'self'; script-src 'self'{eval}; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; worker-src 'self' blob:; object-src 'none'; "
    "base-uri 'self'; form-action 'self'; frame-ancestors 'none'"
)


@dataclass(frozen=True)
class Upstream:
    """A server behind our login.

    Attributes:
        name: For people.
        url: Its address, without a path.
        prefix: Our path before its pages.
        outside: Its path → ours, for redirects.
        headers: Added to every request.
        evaluates: Whether its pages make functions from text; none run scripts that stand in a page.
    """

    name: str
    url: str
    prefix: str
    outside: Callable[[str], str]
    headers: Mapping[str, str]
    evaluates: bool = False


@asynccontextmanager
async def opened(app: FastAPI) -> AsyncIterator[None]:
    """Keep the client that all requests share while the block runs."""
    # No proxy of the environment: it would be shown what these servers ask of their clients.
    async with httpx.AsyncClient(timeout=_TIMEOUT, trust_env=False, verify=authorities()) as client:
        app.state.proxy = client
        yield


async def forward(request: Request, to: Upstream, path: str) -> Response:
    """Ask *to* for *path* as the visitor asked us, and stream the answer.

    Raises:
        ForbiddenError: If the path could mean another one there.
        UpstreamError: If it does not answer.
    """
    if not _PLAIN.fullmatch(path):
        raise ForbiddenError(f"{to.name} is asked for plain paths here: leave out //, .., % and what is not printed")
    client: httpx.AsyncClient = request.app.state.proxy
    url = httpx.URL(to.url).copy_with(path=path, query=request.url.query.encode() or None)
    asked = client.build_request(
        request.method, url, headers={**_passed(request), **to.headers}, content=await request.body()
    )
    try:
        answer = await client.send(asked, stream=True)
    except httpx.HTTPError as error:
        raise _silent(to, error) from None
    return StreamingResponse(
        # As it came, packed or not: unpacking and packing again would cost us a processor.
        answer.aiter_raw(),
        status_code=answer.status_code,
        headers=_told(to, path, answer),
        background=BackgroundTask(answer.aclose),
    )


async def ask(request: Request, to: Upstream, path: str, query: Mapping[str, str] | None = None) -> httpx.Response:
    """Ask *to* a question of our own, and return the answer whole.

    Raises:
        UpstreamError: If it does not answer.
    """
    client: httpx.AsyncClient = request.app.state.proxy
    try:
        return await client.get(f"{to.url}{path}", params=query, headers=to.headers)
    except httpx.HTTPError as error:
        raise _silent(to, error) from None


def _silent(to: Upstream, error: httpx.HTTPError) -> UpstreamError:
    return UpstreamError(f"{to.name} does not answer now ({type(error).__name__}): try again soon.")


def _passed(request: Request) -> dict[str, str]:
    passed = {
        name: value for name, value in request.headers.items() if name in _ASKED or name.startswith(_ASKED_PREFIXES)
    }
    return {"accept-encoding": "identity", **passed}  # the answer is not unpacked here


def _told(to: Upstream, path: str, answer: httpx.Response) -> dict[str, str]:
    headers = {name: answer.headers[name] for name in _TOLD if name in answer.headers}
    if "location" in answer.headers:
        headers["Location"] = _location(to, answer)
    if _HASHED_NAME.search(path) and answer.status_code == HTTPStatus.OK:
        # Names with a hash never change what they hold; everything else is asked for each time.
        headers["Cache-Control"] = "private, max-age=604800, immutable"
        headers |= {name: answer.headers[name] for name in _KEPT if name in answer.headers}
    if answer.headers.get("content-type", "").startswith("text/html"):
        headers["Content-Security-Policy"] = _POLICY.format(eval=" 'unsafe-eval'" if to.evaluates else "")
    return headers


def _location(to: Upstream, answer: httpx.Response) -> str:
    target = answer.url.join(answer.headers["location"])
    if target.host != answer.url.host or target.port != answer.url.port:
        return str(target)
    return to.outside(target.raw_path.decode())

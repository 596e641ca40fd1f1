"""A reverse proxy before a real server that wants a bearer token, as hospitals put it before a PACS."""

from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import requests


class BearerProxy:
    """What it wants, and what it was asked for.

    Args:
        behind: The server behind it.
        token: The token that it takes now; change it, and the old one has expired.
    """

    def __init__(self, behind: str, token: str) -> None:
        self.behind = behind
        self.token = token
        self.url = ""
        self.asked: list[str] = []


@contextmanager
def bearer_proxy(behind: str, token: str) -> Iterator[BearerProxy]:
    """Run the proxy on loopback until the block ends."""
    proxy = BearerProxy(behind, token)
    handler = type("Handler", (_Handler,), {"proxy": proxy})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        proxy.url = f"http://127.0.0.1:{server.server_port}"
        yield proxy
        server.shutdown()


class _Handler(BaseHTTPRequestHandler):
    """Hands on what carries the token."""

    proxy: BearerProxy

    def do_GET(self) -> None:
        self._hand_on(b"")

    def do_POST(self) -> None:
        self._hand_on(self.rfile.read(int(self.headers.get("Content-Length", "0"))))

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        pass

    def _hand_on(self, body: bytes) -> None:
        self.proxy.asked.append(self.path)
        if self.headers.get("Authorization") != f"Bearer {self.proxy.token}":
            self._answer(HTTPStatus.UNAUTHORIZED, {}, b"")
            return
        kept = {name: value for name, value in self.headers.items() if name in {"Accept", "Content-Type"}}
        answer = requests.request(self.command, self.proxy.behind + self.path, headers=kept, data=body, timeout=30)
        self._answer(answer.status_code, {"Content-Type": answer.headers.get("Content-Type", "")}, answer.content)

    def _answer(self, status: int, headers: dict[str, str], content: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

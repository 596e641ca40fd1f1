"""A server that speaks a realtime slot's protocol, and says what its test wants."""

from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event

from configs.wire.slot import (
    CACHED_HEADER,
    SECONDS_HEADER,
    SEQUENCE_HEADER,
    TOKEN_HEADER,
    VERSION_HEADER,
    SlotError,
    SlotPredict,
)

LABEL_MAP = b"NRRD0004\r\n--not-a-boundary\r\n\x00\xff"
TOKEN = "the slot's own"
VERSION = "v1"
_HEADERS = {VERSION_HEADER: VERSION, SEQUENCE_HEADER: "1", CACHED_HEADER: "false", SECONDS_HEADER: "0.1"}


class SlotServer(ThreadingHTTPServer):
    """Answers every prediction with one label map, and refuses points unless `clicks`.

    While `open` is not set, whoever asks waits.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[SlotPredict] = []
        self.content = LABEL_MAP
        self.media_type = "application/x-nrrd"
        self.clicks = False
        self.open = Event()
        self.open.set()


class _Handler(BaseHTTPRequestHandler):
    server: SlotServer

    def do_POST(self) -> None:
        assert self.headers[TOKEN_HEADER] == TOKEN
        request = SlotPredict.model_validate_json(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append(request)
        self.server.open.wait(120)
        refused = bool(request.spec.points) and not self.server.clicks
        said = SlotError(code="bad_input", message="This model takes no points").model_dump_json().encode()
        content = said if refused else self.server.content
        self.send_response(400 if refused else 200)
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        self.send_header("Content-Type", self.server.media_type)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        pass

"""One part: its log, its readiness, its back-off."""

import http.server
import os
import sys
import threading
from pathlib import Path

from infra.doors.cli.supervisor.part import Part, Running, answers


class _Quiet(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(503 if self.path == "/busy" else 404)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def running(tmp_path: Path, code: str, *, once: bool = False) -> Running:
    part = Part("part", [sys.executable, "-c", code], dict(os.environ), once=once)
    return Running(part, tmp_path / "logs" / "part.log")


def test_output_goes_to_the_parts_own_log(tmp_path: Path) -> None:
    one = running(tmp_path, "print('first'); print('last words'); print()", once=True)
    one.start()
    assert one.process is not None
    one.process.wait(timeout=60)
    assert one.check() == 0
    assert one.done
    assert one.last_words() == "last words"


def test_a_step_that_fails_is_not_ready(tmp_path: Path) -> None:
    one = running(tmp_path, "raise SystemExit(3)", once=True)
    one.start()
    assert one.process is not None
    one.process.wait(timeout=60)
    assert one.check() == 3
    assert not one.ready


def test_waiting_grows_with_every_failure_and_stays_bounded(tmp_path: Path) -> None:
    one = running(tmp_path, "pass")
    one.start()
    assert one.process is not None
    one.process.wait(timeout=60)
    waits = [one.back_off() for _ in range(9)]
    assert waits == sorted(waits)
    assert waits[0] < 1
    assert waits[-1] == waits[-2] <= 30


def test_a_server_answers_unless_it_says_that_it_cannot() -> None:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Quiet) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        assert answers(f"{address}/anything")
        assert not answers(f"{address}/busy")
        server.shutdown()
    assert not answers(address)

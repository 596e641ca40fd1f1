"""The supervisor's loop with small parts: order, restarts, giving up, and leaving nothing behind."""

import pickle
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from threading import Thread

import pytest

from infra.doors.cli.supervisor.events import Event, events
from infra.doors.cli.supervisor.lifelines import MARK, marked
from infra.doors.cli.supervisor.part import Part
from tests.processes import wait_until

SLEEPER = "import time; time.sleep(300)"
# A daemon: a grandchild in a session of its own, whose parent has ended.
DAEMON = f"import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', {SLEEPER!r}], start_new_session=True)"
DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(300)"
PROGRAM = """
import pickle, sys
from pathlib import Path
from infra.doors.cli.supervisor import lifelines
from infra.doors.cli.supervisor.events import Conversation
from infra.doors.cli.supervisor.supervise import Supervisor
lifelines.adopt_orphans()
parts = pickle.loads(bytes.fromhex(sys.argv[2]))
front = Conversation(int(sys.argv[1]))
sys.exit(0 if Supervisor(parts, home=Path(sys.argv[3]), front=front, address="http://here").run() else 1)
"""


class Running:
    """A supervisor in a process of its own, and what it said."""

    def __init__(self, home: Path, parts: list[Part]) -> None:
        self.home = home
        self.socket, theirs = socket.socketpair()
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(theirs.fileno()), pickle.dumps(parts).hex(), str(home)],
            pass_fds=(theirs.fileno(),),
        )
        theirs.close()
        self.said: list[Event] = []
        self._reader = Thread(target=self._listen, daemon=True)
        self._reader.start()

    def _listen(self) -> None:
        for event in events(self.socket):
            self.said.append(event)

    def kinds(self, part: str) -> list[str]:
        return [event.kind for event in self.said if event.part == part]

    def wait_up(self, processes: int) -> None:
        wait_until(
            lambda: any(event.kind == "up" for event in self.said) and len(marked(self.home)) == processes,
            "everything to run",
        )

    def finish(self) -> int:
        status = self.process.wait(timeout=60)
        self._reader.join(timeout=10)
        return status


Start = Callable[..., Running]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    running: list[Running] = []

    def begin(*parts: Part) -> Running:
        running.append(Running(tmp_path, list(parts)))
        return running[-1]

    yield begin
    for one in running:
        with suppress(OSError):
            one.socket.shutdown(socket.SHUT_RDWR)
        one.process.wait(timeout=60)


def part(home: Path, name: str, code: str, **options: object) -> Part:
    environment = {MARK: str(home)}
    return Part(name, [sys.executable, "-c", code], environment, **options)  # type: ignore[arg-type]  # of a test


def test_a_part_starts_only_after_what_it_needs_is_ready(start: Start, tmp_path: Path) -> None:
    mark = tmp_path / "done"
    step = part(tmp_path, "step", f"open({str(mark)!r}, 'w').close()", once=True)
    needs = part(tmp_path, "needs", f"open({str(mark)!r}).close(); {SLEEPER}", needs=("step",))
    running = start(needs, step)
    running.wait_up(1)
    assert [event.part for event in running.said if event.kind == "starting"] == ["step", "needs"]
    assert [event.kind for event in running.said if event.part == "needs"].count("died") == 0


def test_a_part_that_is_killed_is_started_again(start: Start, tmp_path: Path) -> None:
    running = start(part(tmp_path, "sleeper", SLEEPER))
    wait_until(lambda: bool(marked(tmp_path)), "the part")
    first = marked(tmp_path)[0]
    first.kill()
    wait_until(lambda: any(process.pid != first.pid for process in marked(tmp_path)), "the part again")
    assert "died" in running.kinds("sleeper")


def test_a_step_that_keeps_failing_ends_everything_and_says_why(start: Start, tmp_path: Path) -> None:
    running = start(
        part(tmp_path, "sleeper", SLEEPER),
        part(tmp_path, "step", "raise SystemExit('the reason')", once=True),
    )
    assert running.finish() == 1
    failed = [event for event in running.said if event.kind == "failed"]
    assert "step" in failed[0].text
    assert "the reason" in failed[0].text
    assert not marked(tmp_path)


def test_stopping_leaves_no_process_not_even_a_daemon_or_a_deaf_one(start: Start, tmp_path: Path) -> None:
    running = start(part(tmp_path, "daemon", DAEMON, once=True), part(tmp_path, "deaf", DEAF, grace_s=0.5))
    running.wait_up(2)
    running.socket.sendall(b"stop")
    assert running.finish() == 0
    assert not marked(tmp_path)


def test_the_end_of_the_front_ends_everything(start: Start, tmp_path: Path) -> None:
    running = start(part(tmp_path, "daemon", DAEMON, once=True), part(tmp_path, "sleeper", SLEEPER))
    running.wait_up(2)
    running.socket.shutdown(socket.SHUT_RDWR)
    assert running.process.wait(timeout=60) == 0
    assert not marked(tmp_path)


def test_what_a_killed_supervisor_left_is_ended_by_the_next_one(start: Start, tmp_path: Path) -> None:
    left = subprocess.Popen([sys.executable, "-c", SLEEPER], env={MARK: str(tmp_path)})
    start(part(tmp_path, "sleeper", SLEEPER))
    assert left.wait(timeout=60) != 0

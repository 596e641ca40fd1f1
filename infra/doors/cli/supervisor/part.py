"""One process that the supervisor keeps running, or one step that has to succeed once."""

import http.client
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

ROOT = Path(__file__).resolve().parents[4]

# One that fell over is back at once; one that cannot start does not take the machine with it.
_BACK_OFF_S = (0.2, 1.0, 2.0, 5.0, 10.0, 30.0)
_STEADY_S = 60.0  # running this long forgets earlier failures
# One file before and one now for each part: an installation runs for months.
_LOG_BYTES = 20 * 2**20
# A part that is busy starting accepts and does not answer; others' turns must not wait for it.
_PROBE_S = 2.0


@dataclass(frozen=True)
class Part:
    """What to run, when, and how to see that it works.

    Attributes:
        name: Name for people, and of the log file.
        command: Program and arguments.
        environment: The whole environment.
        needs: Parts that have to be ready first.
        once: A step: ready when it ends with 0, and not started again then.
        answers: URL that answers below 500 when the part is ready; without one it is ready once it runs.
        gates: Whether requests can't be answered before it is ready.
        stops: Order of stopping, lowest first; parts of the same number stop together.
        grace_s: Seconds it has to end by itself.
        children_first: Whether its children are asked to end before it is.
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    needs: tuple[str, ...] = ()
    once: bool = False
    answers: str = ""
    gates: bool = True
    stops: int = 0
    grace_s: float = 5.0
    children_first: bool = False


@dataclass
class Running:
    """A part with its present process and its history."""

    part: Part
    log: Path
    process: subprocess.Popen[bytes] | None = None
    ready: bool = False
    ever_ready: bool = False
    failures: int = 0
    started_at: float = 0.0
    due_at: float = field(default_factory=time.monotonic)

    @property
    def done(self) -> bool:
        """Whether this is a step that has succeeded."""
        return self.part.once and self.ready

    def start(self) -> None:
        """Start the process in a session of its own, its output at the end of its log."""
        self.log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self.log.exists() and self.log.stat().st_size > _LOG_BYTES:
            # Only here, before the process has it open: one that writes would go on writing to the old file.
            self.log.replace(self.log.with_suffix(".log.1"))
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                list(self.part.command),
                env=dict(self.part.environment),
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.started_at = time.monotonic()

    def check(self) -> int | None:
        """Look once: becomes ready when it answers; returns the exit status when the process has ended."""
        if self.process is None:
            return None
        status = self.process.poll()
        if status is not None:
            self.process = None
            # A step that has ended well is ready for good; a server that has ended, however, is not.
            self.ready = self.part.once and status == 0
        elif not self.ready and not self.part.once:
            self.ready = not self.part.answers or answers(self.part.answers)
        self.ever_ready = self.ever_ready or self.ready
        return status

    def back_off(self) -> float:
        """Note a failure; returns the seconds until the next start."""
        if time.monotonic() - self.started_at > _STEADY_S:
            self.failures = 0
        wait_s = _BACK_OFF_S[min(self.failures, len(_BACK_OFF_S) - 1)]
        self.failures += 1
        self.ready = False
        self.due_at = time.monotonic() + wait_s
        return wait_s

    def last_words(self) -> str:
        """The last line of the log that says something."""
        try:
            # Logs of long runs are large, and only the end can say why.
            lines = self.log.read_text(errors="replace")[-8192:].splitlines()
        except OSError:
            return ""
        return next((line.strip() for line in reversed(lines) if line.strip()), "")


def answers(url: str) -> bool:
    """Tell whether *url* answers with a status below 500."""
    target = urlsplit(url)
    connection = http.client.HTTPConnection(target.hostname or "", target.port, timeout=_PROBE_S)
    try:
        connection.request("GET", target.path or "/")
        return connection.getresponse().status < http.client.INTERNAL_SERVER_ERROR
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()

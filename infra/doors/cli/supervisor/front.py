"""The front: what a person starts, and what a terminal's signals reach."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import Empty, SimpleQueue
from threading import Thread
from types import FrameType, TracebackType
from typing import Self

from configs.errors import TeachbackError
from configs.settings import Settings
from infra.doors.cli.supervisor import lifelines
from infra.doors.cli.supervisor.events import Event, events
from infra.doors.cli.supervisor.lock import lock_home
from infra.doors.cli.supervisor.part import ROOT

_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class NotStartedError(TeachbackError):
    """A part could not be started, or the supervisor was killed."""


class Front:
    """Starts the supervisor on entry, and stops everything in order on exit, whatever happened in between.

    Args:
        settings: Of this installation; its home is made and locked.
        watch: Called in a thread of its own with everything that the supervisor says.

    Raises:
        ConflictError: On entry, if another one runs on the same home.
    """

    def __init__(self, settings: Settings, *, watch: Callable[[Event], None]) -> None:
        self._settings = settings
        self._watch = watch
        self._heard: SimpleQueue[Event] = SimpleQueue()
        self._stopping = False

    def __enter__(self) -> Self:
        lock = lock_home(self._settings.home)
        # Should the supervisor be killed, its children come to this process, which ends them.
        lifelines.adopt_orphans()
        self._socket, theirs = socket.socketpair()
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "infra.doors.cli.supervisor", str(theirs.fileno())],
                env=self._settings.child_environment(),
                cwd=ROOT,
                pass_fds=(theirs.fileno(), lock),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._log(),
                start_new_session=True,
            )
        finally:
            theirs.close()
            os.close(lock)  # the supervisor has it, until everything has stopped
        self._reader = Thread(target=self._listen, name="supervisor", daemon=True)
        self._reader.start()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._stopping = True
        self._say(b"stop")
        with _signals(lambda *_: self._say(b"now")):
            self._reader.join()
            self._process.wait()
        self._socket.close()

    def wait_up(self) -> str:
        """Wait until requests are answered; returns the address.

        Raises:
            NotStartedError: If a part does not start; the message names its log.
        """
        return self._wait("up").text

    def wait_end(self, over: Callable[[], bool] | None = None, every_s: float | None = None) -> None:
        """Wait for ever, or until *over*, asked every so many seconds, says that it is.

        Raises:
            NotStartedError: If the supervisor ends or is killed.
        """
        while True:
            try:
                self._wait("gone", every_s)
            except Empty:
                if over and over():
                    return

    def _wait(self, kind: str, wait_s: float | None = None) -> Event:
        while True:
            event = self._heard.get(timeout=wait_s)
            if event.kind == "failed":
                raise NotStartedError(event.text)
            if event.kind == "gone":
                raise NotStartedError(
                    f"The supervisor ended; every part was stopped with it. See {self._settings.home / 'logs'}."
                )
            if event.kind == kind:
                return event

    def _listen(self) -> None:
        for event in events(self._socket):
            if event.kind == "gone":
                # The supervisor has stopped everything by now, or was killed and left us its children.
                lifelines.kill(lifelines.descendants())
            self._heard.put(event)
            self._watch(event)

    def _say(self, word: bytes) -> None:
        try:
            self._socket.sendall(word)
        except OSError:
            return  # it is gone already

    def _log(self) -> int:
        folder = self._settings.home / "logs"
        folder.mkdir(mode=0o700, exist_ok=True)
        return os.open(folder / "supervisor.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)


@contextmanager
def interruptible() -> Iterator[None]:
    """Let SIGINT, SIGTERM and SIGHUP leave this block as KeyboardInterrupt; a SIGHUP ignored by `nohup` stays so."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        """Leave the block, whatever it does."""
        raise KeyboardInterrupt

    with _signals(interrupt):
        yield


@contextmanager
def _signals(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in _STOP_SIGNALS}
    for number, old in before.items():
        if number != signal.SIGHUP or old is not signal.SIG_IGN:
            signal.signal(number, handler)
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)

"""The parent's end of a talk with one bundle host."""

import select
import socket
import time
from collections.abc import Iterator
from threading import Lock
from types import TracebackType
from typing import Self

from pydantic import ValidationError

from configs.errors import DiskFullError, HostDiedError
from configs.wire.framing import FramingError, frame, read_frame
from configs.wire.host import (
    MESSAGES,
    CheckpointAndExit,
    Failed,
    Finished,
    HostCommand,
    HostMessage,
    HostRequest,
    Load,
    Loaded,
    Predict,
    Prediction,
    ServeRequest,
    Stop,
)
from infra.adapters.compute.bounds import Disk
from infra.adapters.compute.children import Child
from infra.adapters.compute.verify import UntrustworthyError, verify

# Python's own end, with CUDA's: what takes longer hangs.
_EXIT_S = 10.0
_LOOK_S = 1.0


class HostProcess:
    """One running host.

    Args:
        child: The process.
        control: Our end of the control socket.
        request: What it was asked; its messages are checked against it.
        silence_s: Seconds without a message after which it is killed, while it owes us an answer.
        disk: The disk that it writes to; it is killed when that is full.
    """

    def __init__(
        self,
        child: Child,
        control: socket.socket,
        request: HostRequest,
        *,
        silence_s: float,
        disk: Disk,
    ) -> None:
        self._child = child
        self._control = control
        self._request = request
        self._silence_s = silence_s
        self._disk = disk
        self._sending = Lock()
        self._owed: set[str] = set()
        self._stopping = False

    @property
    def pid(self) -> int:
        """The process to watch; when it is gone, everything the bundle started is gone."""
        return self._child.pid

    def messages(self) -> Iterator[HostMessage]:
        """Yield checked messages until the host has ended (see `base.BundleHost.messages`)."""
        answered = False
        while (message := self._next()) is not None:
            # The end of the stream is no answer: a process that is killed closes it, too.
            if isinstance(message, Finished):
                answered = True
                break
            answered = answered or (isinstance(message, Failed) and message.id is None)
            self._note(message)
            yield message
        status = self._end()
        if not answered and not self._stopping:
            raise HostDiedError(
                f"The bundle host of this {self._request.kind} ended with status {status} before it had answered;"
                " its log.txt says more"
            )

    def send(self, command: HostCommand) -> None:
        """Send a command; a host that is gone is no error, `messages` tells."""
        match command:
            case Load(version=name) | Predict(id=name):
                self._owed.add(name)
            case Stop() | CheckpointAndExit():
                self._stopping = True
        try:
            with self._sending:
                self._control.sendall(frame(command))
        except OSError:
            return

    def stop(self) -> None:
        """Ask it to end at the next step."""
        self.send(Stop())

    def kill(self) -> None:
        """End it and all it started, at once; waits until it is gone."""
        self._stopping = True
        self._child.kill()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Kill it if it still runs, close the socket and delete what it kept for itself."""
        self._child.kill()
        self._disk.give_back()
        self._control.close()

    def read(self, size: int, /) -> bytes:
        """Return *size* bytes from the host, fewer at the end of the talk.

        Raises:
            HostDiedError: If it owes an answer and is silent for too long; it is killed.
            DiskFullError: If it has filled the disk; it is killed.
        """
        received = bytearray()
        while len(received) < size:
            self._wait()
            try:
                piece = self._control.recv(size - len(received))
            except ConnectionResetError:
                piece = b""
            if not piece:
                break
            received += piece
        return bytes(received)

    def _wait(self) -> None:
        """Wait until it says something."""
        heard_at = time.monotonic()
        while True:
            # Woken every second: a host may fill the disk and say nothing.
            heard = select.select([self._control], [], [], min(_LOOK_S, self._silence_s))[0]
            if self._disk.is_full():
                self._child.kill()
                raise DiskFullError("The disk is nearly full: the bundle host was killed before others fail for it")
            if heard:
                return
            # A server that nobody has asked anything may be silent for days.
            silent = time.monotonic() - heard_at >= self._silence_s
            if silent and not (isinstance(self._request, ServeRequest) and not self._owed):
                self._child.kill()
                raise HostDiedError(f"The bundle host said nothing for {self._silence_s:.0f} s and was killed")

    def _next(self) -> HostMessage | None:
        """Return the next message, checked; a host that breaks the rules is killed."""
        try:
            while (body := read_frame(self)) is not None:
                message = MESSAGES.validate_json(body)
                if verify(message, self._request):
                    return message
        except (FramingError, ValidationError, UntrustworthyError) as broken:
            # A host that was killed in the middle of a message broke no rule: its status tells what it died of.
            cut_off = isinstance(broken, FramingError) and self._child.wait(0) is not None
            self._child.kill()
            if cut_off:
                return None
            reason = "its message does not fit the schema" if isinstance(broken, ValidationError) else str(broken)
            raise HostDiedError(f"The bundle host broke the protocol and was killed: {reason}") from None
        return None

    def _note(self, message: HostMessage) -> None:
        """Strike out what has been answered."""
        match message:
            case Loaded(version=name) | Prediction(id=name) | Failed(id=str(name)):
                self._owed.discard(name)
            case _:
                pass

    def _end(self) -> int:
        """Wait for the process to end, a moment; then end it. Returns its status."""
        status = self._child.wait(_EXIT_S)
        return self._child.kill() if status is None else status

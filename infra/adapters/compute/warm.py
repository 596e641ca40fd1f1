"""Asks the warm process of this machine for a bundle host, or tells it that one will be wanted."""

import os
import select
import signal
import socket
import struct
from contextlib import suppress
from pathlib import Path
from threading import Lock

from pydantic import ValidationError

from configs.wire.framing import FramingError, frame, read_frame
from configs.wire.warm import REPLIES, Ended, Refused, Start, Started, WarmReply

_ANSWER_S = 60.0  # its imports, on a busy machine; a cold start would take as long
_TERM_S = 5.0
# The warm process reaps it in the same moment; silence means that it is gone itself.
_LAST_WORD_S = 1.0
_PEER = struct.Struct("3i")  # pid, uid, gid: ucred in unix(7)


class NotWarmError(Exception):
    """No warm process answers, or it cannot have the cage."""


class ForkedChild:
    """A host that the warm process forked. Hanging up ends it.

    Args:
        pid: The process that ends with all that the bundle started.
        handle: A descriptor of that process, which no other one can come to mean.
        connection: To the warm process, which tells the exit status.
    """

    def __init__(self, pid: int, handle: int, connection: socket.socket) -> None:
        self._pid = pid
        self._handle = handle
        self._connection = connection
        self._waiting = Lock()
        self._status: int | None = None

    @property
    def pid(self) -> int:
        """The process to watch."""
        return self._pid

    def wait(self, timeout_s: float) -> int | None:
        """Return the exit status, None when it has not ended within *timeout_s*."""
        with self._waiting:
            if self._status is None and _readable(timeout_s, self._connection, self._handle):
                self._status = self._told()
                # Under the lock: once closed, the number may come to mean another process.
                os.close(self._handle)
                self._connection.close()
            return self._status

    def kill(self) -> int:
        """End it and all it started; return its status when it is gone."""
        if self._status is None:
            self._signal(signal.SIGTERM)  # it takes all others with it, and tells its status
        status = self.wait(_TERM_S)
        while status is None:
            self._signal(signal.SIGKILL)
            status = self.wait(_TERM_S)
        return status

    def _told(self) -> int:
        """Return the status that the warm process tells; KILL when that one is gone, or says nothing for a moment."""
        reply = _reply(self._connection) if _readable(_LAST_WORD_S, self._connection) else None
        if isinstance(reply, Ended):
            return reply.status
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._handle, signal.SIGKILL)
        _readable(_TERM_S, self._handle)
        return -signal.SIGKILL

    def _signal(self, number: signal.Signals) -> None:
        with self._waiting, suppress(ProcessLookupError):
            if self._status is None:
                signal.pidfd_send_signal(self._handle, number)


def fork(address: Path, start: Start, *, control: int, log: int) -> ForkedChild:
    """Have a host forked.

    Args:
        address: The warm process's socket.
        start: What it is asked and may see.
        control: Its end of the control socket.
        log: Where its output goes.

    Raises:
        NotWarmError: If it has to be started instead; the message says why.
    """
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(_ANSWER_S)
    try:
        _connect(connection, address)
        # With a byte of its own: descriptors come with the data that they were sent with, and a frame may be split.
        socket.send_fds(connection, [b"\0"], [control, log])
        connection.sendall(frame(start))
        handle = _started(connection)
    except (OSError, FramingError, ValidationError) as error:
        connection.close()
        raise NotWarmError(f"it does not answer ({type(error).__name__})") from None
    except NotWarmError:
        connection.close()
        raise
    connection.settimeout(None)
    return ForkedChild(handle[0], handle[1], connection)


def wake(address: Path) -> None:
    """Have the warm process do its imports, should it rest; where there is none, nothing happens."""
    with socket.socket(socket.AF_UNIX) as connection, suppress(OSError, NotWarmError):
        connection.setblocking(False)
        _connect(connection, address)


def _connect(connection: socket.socket, address: Path) -> None:
    """Connect through the folder's descriptor: a socket's address may have 107 bytes, a path has more."""
    folder = os.open(address.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        connection.connect(f"/proc/self/fd/{folder}/{address.name}")
    finally:
        os.close(folder)
    _, user, _ = _PEER.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
    if user != os.getuid():
        raise NotWarmError("another user listens there")


def _started(connection: socket.socket) -> tuple[int, int]:
    """Return the process and a descriptor of it."""
    first, descriptors, _, _ = socket.recv_fds(connection, 1, 1)
    reply = _reply(connection, first)
    match reply:
        case Started(pid=pid) if descriptors:
            return pid, descriptors[0]
        case Refused(reason=reason):
            raise NotWarmError(f"it cannot have a cage: {reason}")
        case _:
            raise NotWarmError("it hung up")


def _reply(connection: socket.socket, first: bytes = b"") -> WarmReply | None:
    """Return the next message; None at the end."""
    try:
        body = read_frame(_Rest(connection, first))
        return None if body is None else REPLIES.validate_json(body)
    except (OSError, FramingError):
        return None


class _Rest:
    """Reads exactly as much as is asked, so that nothing of the next message is taken."""

    def __init__(self, connection: socket.socket, first: bytes) -> None:
        self._connection = connection
        self._first = first

    def read(self, size: int, /) -> bytes:
        """Return *size* bytes, fewer at the end."""
        received = bytearray(self._first)
        self._first = b""
        while len(received) < size and (piece := self._connection.recv(size - len(received))):
            received += piece
        return bytes(received)


def _readable(timeout_s: float, *what: socket.socket | int) -> bool:
    """Wait until one of *what* can be read, or has ended."""
    poll = select.poll()
    for one in what:
        poll.register(one, select.POLLIN)
    return bool(poll.poll(timeout_s * 1000))

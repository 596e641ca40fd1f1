"""The host's end of the control socket."""

import os
import select
import socket
from threading import Lock, Thread

from configs.wire.framing import frame, read_frame
from configs.wire.host import COMMANDS, HostCommand, HostMessage


class Control:
    """Says messages and hears commands; safe to use from several threads, one of them hearing.

    From the first moment on the process ends when the parent hangs up: the kernel's own signal for that comes too
    late if the parent dies before it was asked for.

    Args:
        descriptor: The socket's file descriptor; it is closed to programs that the bundle starts.
    """

    def __init__(self, descriptor: int) -> None:
        os.set_inheritable(descriptor, False)
        self._socket = socket.socket(fileno=descriptor)
        self._stream = self._socket.makefile("rb")
        self._saying = Lock()
        Thread(target=self._watch, name="parent", daemon=True).start()

    def say(self, message: HostMessage) -> None:
        """Send a message; without a parent to hear it the process ends."""
        try:
            with self._saying:
                self._socket.sendall(frame(message))
        except (BrokenPipeError, ConnectionResetError):
            os._exit(0)

    def hear(self) -> HostCommand | None:
        """Wait for the next command; None once the parent is gone."""
        try:
            body = read_frame(self._stream)
        except ConnectionResetError:
            return None
        return None if body is None else COMMANDS.validate_json(body)

    def _watch(self) -> None:
        """End the process once the parent has hung up."""
        poll = select.poll()
        poll.register(self._socket, select.POLLRDHUP)
        while not poll.poll():
            pass
        os._exit(0)

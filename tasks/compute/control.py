"""The host's end of the control socket."""

import os
import socket
from threading import Lock

from configs.wire.host import COMMANDS, HostCommand, HostMessage, frame, read_frame


class Control:
    """Says messages and hears commands; safe to use from several threads, one of them hearing.

    Args:
        descriptor: The socket's file descriptor; it is closed to programs that the bundle starts.
    """

    def __init__(self, descriptor: int) -> None:
        os.set_inheritable(descriptor, False)
        self._socket = socket.socket(fileno=descriptor)
        self._stream = self._socket.makefile("rb")
        self._saying = Lock()

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

"""What supervisor and front say to each other: one JSON object a line over their socket pair."""

import socket
from collections.abc import Iterator
from typing import Literal

from pydantic import BaseModel


class Event(BaseModel):
    """Supervisor to front.

    Attributes:
        kind: `starting` and `ready` speak of one part, `died` of one that will be started again; `up` says that
            requests are answered, `failed` that they never will be; `gone` is the end of the conversation.
        part: Name of the part, where the event is about one.
        text: One line for the person at the terminal.
    """

    kind: Literal["starting", "ready", "died", "up", "failed", "stopping", "gone"]
    part: str = ""
    text: str = ""


class Conversation:
    """The supervisor's end; a front that is gone is no error here, since end-of-file says so."""

    def __init__(self, descriptor: int) -> None:
        self.socket = socket.socket(fileno=descriptor)

    def tell(self, event: Event) -> None:
        """Send *event*, if anybody is there."""
        try:
            self.socket.sendall(event.model_dump_json().encode() + b"\n")
        except OSError:
            return


def events(stream: socket.socket) -> Iterator[Event]:
    """Yield what the supervisor says until its end of the pair is closed, and then `gone`."""
    with stream.makefile("rb") as lines:
        try:
            for line in lines:
                yield Event.model_validate_json(line)
        except OSError:
            pass  # reset instead of closed: it was killed
    yield Event(kind="gone")

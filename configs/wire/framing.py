"""Messages on a stream: each a big-endian 32-bit length and that many bytes of JSON."""

import struct
from typing import Protocol

from pydantic import BaseModel

# More than any message needs, and little enough to be held for a host that announces more than it sends.
MAX_MESSAGE_BYTES = 2**20

_LENGTH = struct.Struct(">I")


class Reads(Protocol):
    """A blocking stream: returns exactly *size* bytes, fewer only at its end."""

    def read(self, size: int, /) -> bytes:
        """Return *size* bytes."""
        ...


class FramingError(ValueError):
    """The other side broke the framing: a message too long, or cut off."""


def frame(message: BaseModel) -> bytes:
    """Return the message's bytes on the wire.

    Raises:
        FramingError: If it is longer than 1 MiB.
    """
    body = message.model_dump_json().encode()
    if len(body) > MAX_MESSAGE_BYTES:
        raise FramingError(f"A message may have {MAX_MESSAGE_BYTES} bytes, this one has {len(body)}")
    return _LENGTH.pack(len(body)) + body


def read_frame(stream: Reads) -> bytes | None:
    """Return the next message's JSON, or None at the end of the stream.

    Raises:
        FramingError: If the stream ends within a message or announces more than 1 MiB.
    """
    head = stream.read(_LENGTH.size)
    if not head:
        return None
    if len(head) < _LENGTH.size:
        raise FramingError("The stream ended within a message's length")
    (length,) = _LENGTH.unpack(head)
    if length > MAX_MESSAGE_BYTES:
        raise FramingError(f"A message may have {MAX_MESSAGE_BYTES} bytes, this one announces {length}")
    body = stream.read(length)
    if len(body) < length:
        raise FramingError(f"The stream ended after {len(body)} of {length} bytes")
    return body

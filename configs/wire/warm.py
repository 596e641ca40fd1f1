"""Messages between whoever wants a bundle host and the warm process that forks them.

One connection is one host. It begins with a `start`, sent with two descriptors: the host's end of its control
socket, and its log. The answer is `started` (with a descriptor of the process) or `refused`; the last message is
`ended`. Who hangs up earlier ends the host. Framing as in `configs.wire.framing`.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter


class _Message(BaseModel):
    """What all messages have in common: no unknown fields."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Bind(_Message):
    """A file or folder that the host sees, at the same path as outside.

    `optional`: left out where it is not there. `device`: a device node; it may be used as one.
    """

    path: str
    writable: bool = False
    device: bool = False
    optional: bool = False


class Start(_Message):
    """Start a host: what a cold start is given by its command line, environment and cage.

    `binds` is all that it sees besides /proc, /dev and a private /tmp, parents before what lies in them.
    `memory_mib`: what one process of it may fill. `processes`: how many there may be, threads counted.
    """

    kind: Literal["start"] = "start"
    request: str
    folder: str
    memory_mib: int = Field(ge=1)
    processes: int = Field(ge=512)  # the kernel gives the first 300 numbers out once only
    environment: dict[str, str]
    binds: list[Bind]


class Started(_Message):
    """The host runs and its cage was looked at from within; `pid` ends with all that the bundle started."""

    kind: Literal["started"] = "started"
    pid: int


class Refused(_Message):
    """No host was started: the cage could not be had."""

    kind: Literal["refused"] = "refused"
    reason: str = Field(max_length=4000)


class Ended(_Message):
    """The host has ended and nothing of it is left; a negative status is the signal that ended it."""

    kind: Literal["ended"] = "ended"
    status: int


WarmReply = Annotated[Started | Refused | Ended, Field(discriminator="kind")]

REPLIES: TypeAdapter[WarmReply] = TypeAdapter(WarmReply)

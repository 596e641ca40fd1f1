"""What all messages between a parent and its bundle host have in common."""

from pydantic import BaseModel, ConfigDict, Field


class Message(BaseModel):
    """What all messages have in common: no unknown fields, no NaN, no infinity."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class DeviceShare(Message):
    """A host's part of a device.

    `number` of a graphics processor and the most MiB of its memory that may be allocated; None = the processor.
    `busy`: the mark at which the host waits between steps while live requests are computed.
    """

    number: int | None = None
    memory_mib: float | None = Field(default=None, gt=0)
    busy: str | None = None
    nice: int = Field(default=0, ge=0, le=19)


class Request(Message):
    """What all requests have in common."""

    device: DeviceShare | None = None

    def reads(self) -> list[str]:
        """Return the files that it names and that its host must be able to read."""
        return []

    def writes(self) -> list[str]:
        """Return the folders that its host must be able to write."""
        return []

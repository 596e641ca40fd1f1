"""Having weights from outside looked at: what is asked of a bundle host, and what it answers."""

from typing import Literal

from pydantic import Field

from configs.wire.message import Message, Request


class AdmitRequest(Request):
    """Write weights that somebody sent into `out`, as weights of ours, if they are of the network for these labels.

    `weights`: safetensors, or what `torch.load` reads without running code (its name then ends in `.pt`).
    """

    kind: Literal["admit"] = "admit"
    bundle: str
    labels: dict[int, str] = Field(min_length=1)
    weights: str
    out: str

    def reads(self) -> list[str]:
        """Return the weights."""
        return [self.weights]

    def writes(self) -> list[str]:
        """Return the output folder."""
        return [self.out]


class Admitted(Message):
    """They fit: all of the network's tensors and no other, finite, as safetensors in `out`."""

    kind: Literal["admitted"] = "admitted"
    weights: str

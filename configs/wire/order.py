"""Having images ordered beside each other: what a host is asked, and answers."""

from typing import Literal

from pydantic import Field

from configs.specs.score import ScoringMethod
from configs.wire.message import Message, Request


class OrderRequest(Request):
    """Order images beside each other by what scoring told of each.

    `features`: npz with `features`, float32 (image, feature), and `taken`, bool (image,). `progress`: how far the
    annotation is. Answered by a file in `out`.
    """

    kind: Literal["order"] = "order"
    method: ScoringMethod
    features: str
    progress: float = Field(ge=0, le=1)
    seed: int = Field(ge=0)
    out: str

    def reads(self) -> list[str]:
        """Return the features."""
        return [self.features]

    def writes(self) -> list[str]:
        """Return the output folder."""
        return [self.out]


class Ordered(Message):
    """A score per image, in `out`: npy, float32 (image,)."""

    kind: Literal["ordered"] = "ordered"
    path: str

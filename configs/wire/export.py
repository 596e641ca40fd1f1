"""Having a bundle made that MONAI itself runs: what is asked of a bundle host, and what it answers."""

from typing import Annotated, Literal

from pydantic import Field

from configs.wire.message import Message, Request


class ExportRequest(Request):
    """Write those files of the bundle into `out` that make it one that MONAI runs with these weights.

    `version`: what is added to the bundle's own version number.
    """

    kind: Literal["export"] = "export"
    bundle: str
    labels: dict[int, str] = Field(min_length=1)
    weights: str
    version: str = Field(max_length=50)
    out: str

    def reads(self) -> list[str]:
        """Return the weights."""
        return [self.weights]

    def writes(self) -> list[str]:
        """Return the output folder."""
        return [self.out]


class Exported(Message):
    """These files lie in `out`, by their paths in the bundle."""

    kind: Literal["exported"] = "exported"
    files: list[Annotated[str, Field(max_length=500)]] = Field(max_length=20)

"""Segmenting by scribbles, which needs no bundle: what a host is asked, and answers."""

from typing import Literal

from configs.wire.message import Message, Request

ScribbleMethod = Literal["histogram", "gmm"]
BACKGROUND, FOREGROUND = 1, 2
Range = tuple[int, int]


class ScribbleRequest(Request):
    """Segment what is scribbled on.

    `image`: NIfTI of three axes. `scribbles`: npy, uint8 (i, j, k), with `BACKGROUND` and `FOREGROUND`. `region`: first
    index and the one behind the last, along i, j and k; what lies outside of it is background.
    """

    kind: Literal["scribbles"] = "scribbles"
    method: ScribbleMethod
    image: str
    scribbles: str
    region: tuple[Range, Range, Range] | None = None
    out: str

    def reads(self) -> list[str]:
        """Return image and scribbles."""
        return [self.image, self.scribbles]

    def writes(self) -> list[str]:
        """Return the output folder."""
        return [self.out]


class Scribbled(Message):
    """What is inside, in `out`: npy, bool (i, j, k)."""

    kind: Literal["scribbled"] = "scribbled"
    path: str

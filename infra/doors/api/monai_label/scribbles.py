"""What clients say of the strokes that they send beside the image."""

from pydantic import BaseModel, ConfigDict, Field

from configs.errors import InvalidRequestError
from configs.wire.scribbles import ScribbleMethod
from tasks.serving.scribbled import Strokes

_BACKGROUND, _FOREGROUND = "background_scribbles", "foreground_scribbles"
_UNNAMED = {_BACKGROUND: 2, _FOREGROUND: 3}
_ENDS = 6


class _Value(BaseModel):
    """What one value of the label map that is sent means."""

    model_config = ConfigDict(extra="ignore")

    name: str = Field(max_length=1024)
    id: int = Field(ge=0, le=65535)


class ScribbleParams(BaseModel):
    """The original's words. Without `label_info` background is 2 and foreground 3.

    `roi`: first index and the one behind the last, along i, j and k, one after the other; empty = everywhere.
    """

    model_config = ConfigDict(extra="ignore")

    label_info: list[_Value] = Field(default_factory=list, max_length=65536)
    selected_label_name: str = Field(default="", max_length=1024)
    client_id: str = ""
    roi: list[int] = Field(default_factory=list, max_length=_ENDS)

    def labels(self) -> dict[str, int]:
        """Return what the answer's value means: the label that is drawn, by its own value where it has one."""
        name = self.selected_label_name or "foreground"
        value = {each.name: each.id for each in self.label_info}.get(name, 1)
        return {name: value if 0 < value < 2**8 else 1}

    def strokes(self, method: ScribbleMethod) -> Strokes:
        """Return what is what.

        Raises:
            InvalidRequestError: If a region has not its six ends, or strokes cannot be told from each other, or from 0.
        """
        if self.roi and len(self.roi) != _ENDS:
            raise InvalidRequestError(f"roi has {len(self.roi)} numbers: give [i0, i1, j0, j1, k0, k1], or none")
        ends = list(zip(self.roi[::2], self.roi[1::2], strict=True))
        named = {**_UNNAMED, **{each.name: each.id for each in self.label_info}}
        sides = (named[_BACKGROUND], named[_FOREGROUND])
        if 0 in sides or sides[0] == sides[1]:
            raise InvalidRequestError(
                f"label_info has {_BACKGROUND} as {sides[0]} and {_FOREGROUND} as {sides[1]}: give two values from 1,"
                " as 0 is where nothing is drawn"
            )
        [value] = self.labels().values()
        region = (ends[0], ends[1], ends[2]) if ends else None
        return Strokes(method, *sides, value, region)

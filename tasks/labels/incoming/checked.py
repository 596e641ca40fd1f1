"""A label that was read, on its way into the catalog."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from configs.kinds import LabelKind
from configs.states import LabelState

NoticeKind = Literal["added", "updated", "removed"]
Place = Literal["store", "home", "elsewhere"]


class CheckedNotice(BaseModel):
    """What the unit that takes a label in, or out, needs to know of it."""

    model_config = ConfigDict(frozen=True)

    kind: NoticeKind
    image_id: int
    store_key: str
    fingerprint: str = ""
    label_id: str | None = Field(default=None, description="The catalog's id, where it follows from the content.")
    label_kind: LabelKind = "mask"
    blob: str | None = None
    tag: str = "final"
    imported: bool = False
    claims: bool = Field(
        default=False, description="Somebody says that they made a label which was only found until now: it counts."
    )
    unedited: bool = False
    annotated: list[str] | None = None
    names: dict[str, str] = {}
    person: str = Field(default="", description="Who says it, where that is not who calls.")
    author_name: str = ""
    tool: str = ""
    base_version: str | None = None
    params: dict[str, object] = {}
    warnings: list[str] = []
    place: Place = "home"
    upload_pending: bool = Field(default=False, description="It is to be written to its place when that is back.")
    saved: bool = Field(default=False, description="Saved through us: content that was replaced comes back by it.")
    quarantined: bool = False
    unchecked: bool = Field(default=False, description="Its image could not be read to compare it with.")
    prediction: bool = Field(default=False, description="A model's output, which nobody has looked at.")

    @property
    def state(self) -> LabelState:
        """The state in which the label comes in."""
        if self.prediction:
            return LabelState.PREDICTION
        if self.quarantined:
            return LabelState.QUARANTINED
        return LabelState.PENDING_UPLOAD if self.unchecked else LabelState.ACTIVE

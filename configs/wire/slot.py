"""What a door asks of a realtime slot, and what the slot answers.

`POST /predict` takes a `SlotPredict` and answers the label map's bytes, or JSON as in `configs.wire.answers`, with the
headers below; everything else is answered with a `SlotError`. Each call carries the slot's token.
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from configs.specs.infer import InferSpec

TOKEN_HEADER = "X-Teachback-Slot-Token"  # noqa: S105 - the header's name
# Clients that save a correction give it back as `base_version`.
VERSION_HEADER = "X-Teachback-Version"
SEQUENCE_HEADER = "X-Teachback-Sequence"
CACHED_HEADER = "X-Teachback-Cached"
SECONDS_HEADER = "X-Teachback-Seconds"
SCORE_HEADER = "X-Teachback-Score"

LabelForm = Literal["nrrd", "nifti"]
MEDIA_TYPES: dict[LabelForm, str] = {"nrrd": "application/x-nrrd", "nifti": "application/gzip"}
JSON_TYPE = "application/json"
SlotErrorCode = Literal["bad_input", "busy", "draining", "failed", "not_found", "unauthorized", "upstream"]


class SlotPredict(BaseModel):
    """Segment one image of the catalog; or, where an address is given, what is behind that: `image_id` is 0 then.

    `background` fills the cache for later: it gives way to live requests and is dropped when the lane is full.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    dataset_id: str = Field(max_length=36)
    image_id: int
    spec: InferSpec = InferSpec()
    form: LabelForm = "nrrd"
    address: str = Field(default="", max_length=4096)
    background: bool = False


class SlotError(BaseModel):
    """Why there is no label map."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    code: SlotErrorCode
    message: str


class SlotHealth(BaseModel):
    """How a slot is: what it serves, and how many requests wait."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    slot: str
    version: str
    seq: int
    accepting: bool
    live_waiting: int
    background_waiting: int

"""Jobs of a data set in this dialect's words: what each action is told, and what it answers."""

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from configs.specs.score import AnyStrategy
from infra.doors.api.monai_cloud.job_schemas import Specs
from infra.doors.api.native.labels import LabelResponse
from infra.services.data.agreement import Pair
from tasks.labels.choosing.review import MAX_REASON_CHARS
from tasks.labels.incoming.notice import Notice
from tasks.rounds.count import NoticeKind
from tasks.selection.skip import MAX_REASON_CHARS as MAX_SKIP_REASON_CHARS


class DatasetJobRequest(BaseModel):
    """A job of a data set."""

    model_config = ConfigDict(extra="forbid")

    action: str
    specs: Specs = Field(default_factory=dict)
    parent_job_id: str | None = None
    name: str = ""
    description: str = ""


class NextImageSpecs(BaseModel):
    """What `nextimage` may be told. `limit` is read and makes no difference, as it never did."""

    model_config = ConfigDict(extra="forbid")

    limit: int = 1
    experiment: str | None = None
    strategy: AnyStrategy | None = None
    client_id: str = ""


class CacheImageSpecs(BaseModel):
    """Which image is to be cached."""

    model_config = ConfigDict(extra="forbid")

    image: Annotated[str, Field(min_length=1)]
    ttl: int = 3600
    client_id: str = ""


class SkipSpecs(BaseModel):
    """Which image nobody is to label, and why."""

    model_config = ConfigDict(extra="forbid")

    image: Annotated[str, Field(min_length=1, max_length=1024)]
    reason: Annotated[str, Field(min_length=1, max_length=MAX_SKIP_REASON_CHARS)]


class Entry(BaseModel):
    """A label and the image that it speaks about."""

    model_config = ConfigDict(extra="ignore")

    image: Annotated[str, Field(min_length=1, max_length=1024)]
    label: Annotated[str, Field(min_length=1, max_length=1024)]


Section = Annotated[list[Entry], BeforeValidator(lambda said: [said] if isinstance(said, dict) else said)]


class NotifySpecs(BaseModel):
    """What happened to labels; each section is a list or one entry."""

    model_config = ConfigDict(extra="forbid")

    added: Section = Field(default_factory=list)
    updated: Section = Field(default_factory=list)
    removed: Section = Field(default_factory=list)

    def notices(self) -> list[Notice]:
        """Return the entries in the order added, updated, removed."""
        sections: tuple[tuple[NoticeKind, list[Entry]], ...] = (
            ("added", self.added),
            ("updated", self.updated),
            ("removed", self.removed),
        )
        return [
            Notice(kind=kind, image=entry.image, label=entry.label) for kind, section in sections for entry in section
        ]


class QueueSpecs(BaseModel):
    """How many labels are listed, the newest first."""

    model_config = ConfigDict(extra="forbid")

    limit: int = Field(default=1000, ge=1, le=10_000)


class ReviewSpecs(BaseModel):
    """A reviewer's word on a label, whose id is that of `notify` or of `queue`: approved, or why it is sent back."""

    model_config = ConfigDict(extra="forbid")

    label: Annotated[str, Field(min_length=1, max_length=1024)]
    approve: bool = False
    reason: Annotated[str, Field(max_length=MAX_REASON_CHARS)] = ""

    @model_validator(mode="after")
    def _one_or_the_other(self) -> "ReviewSpecs":
        if self.approve == bool(self.reason.strip()):
            raise ValueError("say approve: true, or the reason for which the label is sent back")
        return self


class AgreementSpecs(BaseModel):
    """Which images are compared: one, or those that were labelled last."""

    model_config = ConfigDict(extra="forbid")

    image: Annotated[str, Field(max_length=1024)] = ""
    limit: int = Field(default=20, ge=1, le=200)


class DatasetJobAnswer(BaseModel):
    """What `nextimage` answers, and `queue`, `review` (the label as it is then) and `agreement`; others answer `{}`."""

    image: str | None = None
    meta: dict[str, Any] | None = None
    labels: list[LabelResponse] | None = None
    agreement: list[Pair] | None = None

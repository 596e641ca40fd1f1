"""What a round trains on, exactly: written before training, never changed. Its hash is the round's identity."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from configs.specs.round import RoundSpec


class SnapshotRow(BaseModel):
    """One labelled image."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset: str
    image: int = Field(description="Catalog id.")
    image_fingerprint: str
    label: str = Field(description="Catalog id.")
    label_sha256: str
    label_ending: str
    side: Literal["train", "validate", "evaluate"]
    patient: str = Field(description="Keyed hash.")
    names: dict[str, str] = {}
    annotated: list[str] | None = Field(default=None, description="As the author said; None = what the file names.")
    fresh: bool = Field(default=False, description="To train for the first time, and drawn by a person.")
    cohort: str = Field(default="", description="Results are also given for each cohort.")

    @property
    def case(self) -> str:
        """What a bundle host knows it by."""
        return str(self.image)


class OtherLabel(BaseModel):
    """A class, or boxes in world mm, LPS, as they were saved, that the round does not learn."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset: str
    image: int = Field(description="Catalog id.")
    label: str = Field(description="Catalog id.")
    kind: str
    said: dict[str, Any]
    side: str | None = Field(description="train, evaluate; None = no mask of this patient was met yet.")


class Snapshot(BaseModel):
    """Everything that decides what a round's training makes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = 1
    experiment: str
    job: str
    round: int | None
    to_seq: int
    bundle: str
    base_version: str | None = Field(description="Version that training starts from; None = the bundle itself.")
    base_weights: str | None
    labels: dict[int, str]
    spec: RoundSpec
    seed: int
    code: str = Field(description="Version of this software.")
    environment: dict[str, Any] = Field(description="Versions of the libraries that decide the arithmetic.")
    seen: list[int] = Field(default=[], description="Images that the rounds before this one trained on.")
    rows: list[SnapshotRow]
    others: list[OtherLabel] = Field(default=[], description="Classes and boxes that it does not learn.")

    def side(self, *sides: str) -> list[SnapshotRow]:
        """Return the rows of these sides."""
        return [row for row in self.rows if row.side in sides]

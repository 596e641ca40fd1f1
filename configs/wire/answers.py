"""What a bundle answers of one image where that is no label map: the JSON that its host writes and a slot hands on."""

import csv
from io import StringIO
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from configs.kinds import Box, Index


class BoxesAnswer(BaseModel):
    """Boxes as labels have them (world mm, LPS), the surest first, with the label and how sure the network is, 0..1."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    kind: Literal["boxes"] = "boxes"
    boxes: list[Box] = Field(max_length=10_000)
    classes: list[Index]
    scores: list[Annotated[float, Field(ge=0, le=1)]]

    def label(self) -> str:
        """Return JSON as labels are saved: what a person corrects and sends back."""
        return self.model_dump_json(exclude={"kind"})


class ClassAnswer(BaseModel):
    """The class of the whole image.

    `index`: the likeliest, of the experiment's labels. `probabilities` by label index; together they are 1.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, populate_by_name=True)

    kind: Literal["class"] = "class"
    index: int = Field(ge=0, alias="class")
    probabilities: dict[int, float] = Field(min_length=1, max_length=10_000)

    def row(self, name: str) -> str:
        """Return a line of CSV as MONAI's savers write it: what it is about, then a value for each class, by index."""
        line = StringIO()
        values = [f"{value:.6f}" for _, value in sorted(self.probabilities.items())]
        csv.writer(line, lineterminator="\n").writerow([name, *values])
        return line.getvalue()


ANSWERS: TypeAdapter[ClassAnswer | BoxesAnswer] = TypeAdapter(
    Annotated[ClassAnswer | BoxesAnswer, Field(discriminator="kind")]
)

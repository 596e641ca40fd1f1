"""What a bundle answers of one image where that is no label map: the JSON that its host writes and a slot hands on."""

import csv
from io import StringIO
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter


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


ANSWERS: TypeAdapter[ClassAnswer] = TypeAdapter(ClassAnswer)

"""What a bundle answers of one image where that is no label map: a label, with how sure the network is of it.

JSON, which its host writes, a slot hands on, a batch keeps, and a person corrects and saves: one form for all.
"""

import csv
from io import StringIO
from typing import Annotated

from pydantic import Field, FiniteFloat, TypeAdapter

from configs.kinds import Box, BoxesLabel, ClassLabel


class BoxesAnswer(BoxesLabel):
    """Boxes as labels have them (world mm, LPS), the surest first, with the label and how sure the network is, 0..1."""

    boxes: list[Box] = Field(max_length=10_000)
    scores: list[Annotated[float, Field(ge=0, le=1)]]


class ClassAnswer(ClassLabel):
    """The class of the whole image: the likeliest of the experiment's labels.

    `probabilities` by label index; together they are 1.
    """

    probabilities: dict[int, FiniteFloat] = Field(min_length=1, max_length=10_000)

    def row(self, name: str) -> str:
        """Return a line of CSV as MONAI's savers write it: what it is about, then a value for each class, by index."""
        line = StringIO()
        values = [f"{value:.6f}" for _, value in sorted(self.probabilities.items())]
        csv.writer(line, lineterminator="\n").writerow([name, *values])
        return line.getvalue()


ANSWERS: TypeAdapter[ClassAnswer | BoxesAnswer] = TypeAdapter(ClassAnswer | BoxesAnswer)

"""What a label says of an image. A bundle answers in the kind that it learns from.

Labels that are no masks are JSON, the same as people save it and as bundle hosts read it.
"""

from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, TypeAdapter, model_validator

LabelKind = Literal["mask", "class", "boxes"]
"""A label map; the class of the whole image, where 0 is a class; boxes with a class each."""
UNLABELLED = 255
"""In a label map and in a training target: nobody has looked there."""
Index = Annotated[int, Field(ge=0, le=2**16 - 1, strict=True)]
Box = tuple[FiniteFloat, FiniteFloat, FiniteFloat, FiniteFloat, FiniteFloat, FiniteFloat]


class ClassLabel(BaseModel):
    """The class of the whole image, an index of the experiment's labels; 0 is a class.

    A model's answer may be sent back as it is: its `probabilities` say nothing of what a person thinks.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)
    kind: ClassVar[LabelKind] = "class"

    index: Index = Field(alias="class")
    probabilities: dict[int, FiniteFloat] = {}

    def classes_said(self) -> set[int]:
        """Return the indices that it names."""
        return {self.index}


class BoxesLabel(BaseModel):
    """Boxes by two opposite corners (x1, y1, z1, x2, y2, z2) in world mm, LPS; one class index for each.

    A model's answer may be sent back as it is: its `scores` say nothing of what a person thinks, and are not read.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    kind: ClassVar[LabelKind] = "boxes"

    boxes: list[Box]
    classes: list[Index]
    scores: list[FiniteFloat] = []

    @model_validator(mode="after")
    def _fit(self) -> "BoxesLabel":
        if len(self.boxes) != len(self.classes):
            raise ValueError("boxes and classes have different lengths")
        for number, box in enumerate(self.boxes):
            if any(box[axis] > box[axis + 3] for axis in range(3)):
                raise ValueError(f"box {number} ends before it begins: the smaller corner comes first")
        return self

    def classes_said(self) -> set[int]:
        """Return the indices that it names."""
        return set(self.classes)


STRUCTURED: TypeAdapter[ClassLabel | BoxesLabel] = TypeAdapter(ClassLabel | BoxesLabel)

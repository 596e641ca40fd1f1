"""Labels that are no masks: a class of the whole image, or boxes; JSON in world millimetres, LPS."""

from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, TypeAdapter, ValidationError, model_validator

from configs.errors import InvalidRequestError
from tasks.images.geometry import Geometry
from tasks.labels.checked import LabelKind

MAX_BYTES = 16 * 2**20
_FORMS = 'send {"class": 3} or {"boxes": [[x1, y1, z1, x2, y2, z2], …], "classes": [1, …]}'
_SHOWN = 8
Index = Annotated[int, Field(ge=0, le=2**16 - 1, strict=True)]
Box = tuple[FiniteFloat, FiniteFloat, FiniteFloat, FiniteFloat, FiniteFloat, FiniteFloat]


class ClassLabel(BaseModel):
    """The class of the whole image, an index of the experiment's labels; 0 is a class."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    index: Index = Field(alias="class")

    def classes_said(self) -> set[int]:
        """Return the indices that it names."""
        return {self.index}


class BoxesLabel(BaseModel):
    """Boxes by two opposite corners (x1, y1, z1, x2, y2, z2) in world mm, LPS; one class index for each."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    boxes: list[Box]
    classes: list[Index]

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


_ANY: TypeAdapter[ClassLabel | BoxesLabel] = TypeAdapter(ClassLabel | BoxesLabel)


def read_structured(path: Path) -> ClassLabel | BoxesLabel:
    """Read a JSON label.

    Raises:
        InvalidRequestError: If it is no JSON, or neither of the two forms.
    """
    if path.stat().st_size > MAX_BYTES:
        raise InvalidRequestError(f"The JSON label has more than {MAX_BYTES} bytes: save a mask instead")
    try:
        return _ANY.validate_json(path.read_bytes())
    except ValidationError as error:
        said = "; ".join(sorted({str(part["msg"]) for part in error.errors()})[:3])
        raise InvalidRequestError(f"The JSON is no label ({said}): {_FORMS}") from None


def kind_of(label: ClassLabel | BoxesLabel) -> LabelKind:
    """Return the label's kind in the catalog."""
    return "class" if isinstance(label, ClassLabel) else "boxes"


def faults(label: ClassLabel | BoxesLabel, image: Geometry) -> str | None:
    """Say why the label cannot belong to the image: a box that lies beside it. None = it can."""
    if isinstance(label, ClassLabel):
        return None
    corners = np.array([[*corner, 1.0] for corner in product(*((-0.5, size - 0.5) for size in image.shape))])
    world = corners @ image.affine.T
    low, high = world[:, :3].min(axis=0), world[:, :3].max(axis=0)
    beside = [
        number
        for number, box in enumerate(label.boxes)
        if (np.array(box[:3]) > high).any() or (np.array(box[3:]) < low).any()
    ]
    if not beside:
        return None
    named = ", ".join(map(str, beside[:_SHOWN]))
    return f"Boxes {named} lie beside the image: give world millimetres in LPS (x to the left, y to the back, z up)"


def unknown_classes(label: ClassLabel | BoxesLabel, labels: Mapping[int, str]) -> list[str]:
    """Return a warning for class indices that the experiment has no name for; none if no experiment learns here."""
    strange = sorted(label.classes_said() - {0, *labels})
    if not labels or not strange:
        return []
    return [f"Kept, and the experiment has no label of this number: {', '.join(map(str, strange[:_SHOWN]))}"]

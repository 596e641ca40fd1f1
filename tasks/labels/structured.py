"""Labels that are no masks: a class of the whole image, or boxes; JSON in world millimetres, LPS."""

from collections.abc import Mapping
from itertools import product
from pathlib import Path

import numpy as np
from pydantic import ValidationError

from configs.errors import InvalidRequestError
from configs.kinds import STRUCTURED, BoxesLabel, ClassLabel, LabelKind
from tasks.images.geometry import Geometry

MAX_BYTES = 16 * 2**20
_FORMS = 'send {"class": 3} or {"boxes": [[x1, y1, z1, x2, y2, z2], …], "classes": [1, …]}'
_SHOWN = 8


def read_structured(path: Path) -> ClassLabel | BoxesLabel:
    """Read a JSON label.

    Raises:
        InvalidRequestError: If it is no JSON, or neither of the two forms.
    """
    if path.stat().st_size > MAX_BYTES:
        raise InvalidRequestError(f"The JSON label has more than {MAX_BYTES} bytes: save a mask instead")
    try:
        return STRUCTURED.validate_json(path.read_bytes())
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

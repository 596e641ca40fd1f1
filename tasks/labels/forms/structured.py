"""Labels that are no masks: a class of the whole image, or boxes; JSON in world millimetres, LPS."""

from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path

import numpy as np
from pydantic import ValidationError

from configs.errors import InvalidRequestError
from configs.kinds import STRUCTURED, BoxesLabel, ClassLabel, LabelKind
from configs.names import plain
from tasks.images.geometry import Geometry
from tasks.labels.incoming.check import CheckedLabel
from tasks.labels.incoming.names import Names

# Parsed whole into memory; 100,000 boxes fit.
MAX_BYTES = 16 * 2**20
_FORMS = 'send {"class": 3} or {"boxes": [[x1, y1, z1, x2, y2, z2], …], "classes": [1, …]}'
_SHOWN = 8
_NONE = -1
_SAYS: dict[LabelKind, str] = {"class": "the class of a whole image", "boxes": "boxes"}
NOT_LEARNT = "Kept, and not learnt from yet: no experiment of the data set learns {}."


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


def faults(label: ClassLabel | BoxesLabel, image: Geometry) -> str | None:
    """Say why the label cannot be learnt from: a box beside the image, or without extent. None = it can."""
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
    flat = [number for number, box in enumerate(label.boxes) if any(box[axis] == box[axis + 3] for axis in range(3))]
    if flat:
        named = ", ".join(map(str, flat[:_SHOWN]))
        return f"Boxes {named} have no extent along an axis: give the smaller and the larger corner of what they hold"
    if not beside:
        return None
    named = ", ".join(map(str, beside[:_SHOWN]))
    return f"Boxes {named} lie beside the image: give world millimetres in LPS (x to the left, y to the back, z up)"


def kind_in(file: Path) -> LabelKind:
    """Return what a label's file says of its image; raises as `read_structured`."""
    return read_structured(file).kind if file.suffix == ".json" else "mask"


def check_structured(
    image: Geometry | None,
    path: Path,
    here: Names,
    *,
    names: Mapping[int, str] | None = None,
    annotated: Sequence[str] | None = None,
    write_to: Path | None = None,
) -> CheckedLabel:
    """Read a label that is no mask and say what it holds, as `tasks.labels.incoming.check.check_label` does of masks.

    Its classes are an experiment's indices; where *names* says what one is called, the experiment's index of that name.
    A class that the experiment has not got puts a class label into quarantine, and leaves a box out of what is learnt.
    """
    label, labels = read_structured(path), here.known
    said, known = names or {}, {plain(name): index for index, name in labels.items()}
    meant = {one: known.get(plain(said[one]), _NONE) if one in said else one for one in label.classes_said()}
    found = {one: index for one, index in meant.items() if index in labels}
    strange = sorted(label.classes_said() - found.keys()) if labels else []
    unclear = sorted(one for one in label.classes_said() if one in here.unsure and one not in said)
    wrong = faults(label, image) if image is not None else None
    if unclear:
        wrong = f"Several experiments here call class {unclear[0]} by different names: say which is meant"
    if strange and isinstance(label, ClassLabel):
        has = ", ".join(f"{index} {name}" for index, name in sorted(labels.items())[:_SHOWN])
        wrong = f"Class {strange[0]} is none of the experiment's, which has {has}"
    warnings = [NOT_LEARNT.format(_SAYS[label.kind])] if not labels else []
    if strange and not wrong:
        warnings.append(f"Boxes of classes that the experiment has not got: {', '.join(map(str, strange[:_SHOWN]))}")
    if write_to is not None and wrong is None:
        write_to.write_text(_in_indices(label, found).model_dump_json(by_alias=True))
    return CheckedLabel(
        values=sorted(set(found.values())),
        annotated=list((label.kind == "boxes" and annotated) or labels.values()),
        names={one: labels[index] for one, index in found.items()},
        warnings=[*warnings, *filter(None, [wrong])],
        empty=not found,
        quarantine=wrong,
    )


def _in_indices(label: ClassLabel | BoxesLabel, found: Mapping[int, int]) -> ClassLabel | BoxesLabel:
    """Return the label in the experiment's indices; boxes of classes that it has not got are left out."""
    if isinstance(label, ClassLabel):
        return ClassLabel(index=found[label.index])
    pairs = [(box, found[one]) for box, one in zip(label.boxes, label.classes, strict=True) if one in found]
    return BoxesLabel(boxes=[box for box, _ in pairs], classes=[index for _, index in pairs])

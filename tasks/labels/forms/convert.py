"""A label as another format has it: NIfTI or DICOM SEG on its image's grid, or COCO where it has one slice."""

from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from configs.errors import InvalidRequestError
from configs.kinds import BoxesLabel
from tasks.images.geometry import Geometry
from tasks.images.volume import Volume, write_nifti
from tasks.labels.forms.label_map import marked_values
from tasks.labels.forms.read import read_label
from tasks.labels.forms.structured import read_structured

Form = Literal["nifti", "seg"]


class CocoAnnotation(BaseModel):
    """One label of one picture: pixels, columns to the right and rows down, as COCO counts them."""

    model_config = ConfigDict(frozen=True)

    category_id: int
    bbox: tuple[float, float, float, float]
    area: float
    segmentation: dict[str, list[int]] | None = None
    iscrowd: int = 0


class CocoImage(BaseModel):
    """What is said of one picture."""

    model_config = ConfigDict(frozen=True)

    width: int
    height: int
    annotations: list[CocoAnnotation]
    file_name: str = ""


def to_nifti(file: Path, image: Geometry, target: Path) -> None:
    """Write a mask as NIfTI on its image's grid, in its own values.

    Raises:
        InvalidRequestError: If it cannot be read.
        MismatchError: If it does not fit its image.
    """
    write_nifti(Volume(read_label(file, image).array, image.affine), target)


def to_coco(file: Path, image: Geometry) -> CocoImage:
    """Return what a label says of a picture: a mask's values as run lengths each, or its boxes.

    Raises:
        InvalidRequestError: If the image has more than one slice, or the label names only a class.
        MismatchError: If it does not fit its image.
    """
    width, height, slices = image.shape
    if slices > 1:
        raise InvalidRequestError(f"COCO is for pictures, and the image has {slices} slices: export nifti or seg")
    if file.suffix == ".json":
        label = read_structured(file)
        if not isinstance(label, BoxesLabel):
            raise InvalidRequestError("COCO says boxes and outlines, and the label is a class of the whole picture")
        return CocoImage(width=width, height=height, annotations=_boxes(label, image))
    array = read_label(file, image).array[:, :, 0]
    found = [_annotation(array == value, value) for value in marked_values(array)]
    return CocoImage(width=width, height=height, annotations=found)


def _annotation(marked: NDArray[Any], value: int) -> CocoAnnotation:
    """Return one value's pixels; *marked* has axes (column, row)."""
    columns, rows = np.flatnonzero(marked.any(axis=1)), np.flatnonzero(marked.any(axis=0))
    left, top = int(columns[0]), int(rows[0])
    # Uncompressed run lengths go down the columns, and begin with a run of nothing, which may be empty.
    flat = np.ascontiguousarray(marked).ravel()
    turns = [0, *(np.flatnonzero(flat[1:] != flat[:-1]) + 1).tolist(), flat.size]
    counts = [int(end - start) for start, end in pairwise(turns)]
    return CocoAnnotation(
        category_id=value,
        bbox=(left, top, int(columns[-1]) - left + 1, int(rows[-1]) - top + 1),
        area=int(np.count_nonzero(marked)),
        segmentation={"counts": [0, *counts] if flat[0] else counts, "size": [marked.shape[1], marked.shape[0]]},
    )


def _boxes(label: BoxesLabel, image: Geometry) -> list[CocoAnnotation]:
    to_index = np.linalg.inv(image.affine)
    found = []
    for box, index in zip(label.boxes, label.classes, strict=True):
        corners = np.array([[*box[:3], 1.0], [*box[3:], 1.0]]) @ to_index.T
        low, high = corners[:, :2].min(axis=0) + 0.5, corners[:, :2].max(axis=0) + 0.5  # COCO's pixels begin at 0
        width, height = (high - low).tolist()
        found.append(
            CocoAnnotation(category_id=index, bbox=(low[0].item(), low[1].item(), width, height), area=width * height)
        )
    return found

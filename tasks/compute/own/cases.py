"""Cases as the items that a bundle's own data set reads."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from configs.kinds import LabelKind
from configs.names import plain
from configs.wire.host import Case
from tasks.compute.boxes.places import BoxKeys
from tasks.compute.failures import BadInputError, UnreadableError, preparing
from tasks.compute.loader.channels import Channels
from tasks.compute.loader.pipeline import LABEL, boxes_in, class_in

# One byte a voxel: label maps of a bundle's own trainer have 256 values.
_VALUES = 256
Items = dict[str, dict[str, Any]]  # by case id


def items_of(
    cases: Sequence[Case],
    channels: Channels,
    left_out: list[str],
    *,
    image_key: str,
    labels: dict[int, str],
    folder: Path,
    boxes: BoxKeys | None = None,
) -> Items:
    """Return an item per case whose annotator drew all labels: a trainer of the bundle's own cannot leave any out.

    Args:
        cases: Of one side.
        left_out: Cases that get none; those whose label cannot be read are added.
        channels: What the network's channels stand for: label files are written anew in these.
        image_key: The network's first input.
        labels: The experiment's names by index.
        folder: Where labels are written.
        boxes: How the bundle takes boxes, if it learns from these.

    Raises:
        BadInputError: If a case has no label, or none of them is drawn whole.
    """
    if channels.nested:
        raise BadInputError(
            "A trainer of the bundle's own cannot be given regions that contain each other: ask no training"
        )
    whole = [case for case in cases if _whole(case, labels, channels.kind)]
    if cases and not whole:
        raise BadInputError(
            "The bundle's own trainer takes what is not drawn for background, and no case has all labels drawn: draw"
            f" {', '.join(labels.values())} in at least one"
        )
    items: Items = {}
    for case in whole:
        if case.id in left_out:
            continue
        image = case.image[0] if len(case.image) == 1 else list(case.image)
        try:
            items[case.id] = {image_key: image, **_target(case, channels, folder, boxes)}
        except UnreadableError:
            left_out.append(case.id)
    return items


def _target(case: Case, channels: Channels, folder: Path, boxes: BoxKeys | None) -> dict[str, Any]:
    """Return a label under the keys by which the bundle's transforms know it."""
    if channels.kind == "class":
        return {LABEL: channels.channel_of()[class_in(_said(case))]}
    if boxes is None:
        return {LABEL: str(_in_channels(case, channels, folder))}
    said, class_of = boxes_in(case), channels.channel_of()
    known = [number for number, label in enumerate(said.classes) if label in class_of]
    corners = np.array([said.boxes[number] for number in known]).reshape(-1, 6)
    classes = np.array([class_of[said.classes[number]] for number in known], dtype=np.int64)
    return {boxes.box: boxes.convention.of(corners), boxes.label: classes}


def _whole(case: Case, labels: dict[int, str], kind: LabelKind) -> bool:
    wanted = {plain(name) for index, name in labels.items() if index or kind != "mask"}
    return case.annotated is None or wanted <= {plain(name) for name in case.annotated}


def _said(case: Case) -> str:
    if case.label is None:
        raise BadInputError(f"Case {case.id} has no label; training needs one")
    return case.label


def _in_channels(case: Case, channels: Channels, folder: Path) -> Path:
    """Return a label file whose values are the network's channels; the case's own where these are its indices."""
    label = _said(case)
    target_of = channels.channel_of()
    if all(index == target for index, target in target_of.items()):
        return Path(label)
    table = np.zeros(_VALUES, dtype=np.uint8)
    for index, target in target_of.items():
        table[index] = target
    with preparing("The label"):
        image = nib.load(label)
        values = np.asarray(image.dataobj)
    values = values.round().astype(np.int64).clip(0, _VALUES - 1)
    path = folder / f"label-{case.id}.nii"
    nib.save(nib.Nifti1Image(table[values], image.affine, dtype=np.uint8), path)
    return path

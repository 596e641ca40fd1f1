"""Cases as the items that a bundle's own data set reads."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from configs.names import plain
from configs.wire.host import Case
from tasks.compute.failures import BadInputError, UnreadableError, preparing
from tasks.compute.loader.channels import Channels
from tasks.compute.loader.pipeline import LABEL

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
) -> Items:
    """Return an item per case whose annotator drew all labels: a trainer of the bundle's own cannot leave any out.

    Args:
        cases: Of one side.
        left_out: Cases that get none; those whose label cannot be read are added.
        channels: What the network's channels stand for: label files are written anew in these.
        image_key: The network's first input.
        labels: The experiment's names by index.
        folder: Where labels are written.

    Raises:
        BadInputError: If a case has no label, or none of them is drawn whole.
    """
    whole = [case for case in cases if _whole(case, labels)]
    if cases and not whole:
        raise BadInputError(
            "The bundle's own trainer takes what is not drawn for background, and no case has all labels drawn: draw"
            f" {', '.join(labels.values())} in at least one"
        )
    items: Items = {}
    for case in whole:
        if case.id in left_out:
            continue
        try:
            label = str(_in_channels(case, channels, folder))
        except UnreadableError:
            left_out.append(case.id)
        else:
            image = case.image[0] if len(case.image) == 1 else list(case.image)
            items[case.id] = {image_key: image, LABEL: label}
    return items


def _whole(case: Case, labels: dict[int, str]) -> bool:
    wanted = {plain(name) for index, name in labels.items() if index}
    return case.annotated is None or wanted <= {plain(name) for name in case.annotated}


def _in_channels(case: Case, channels: Channels, folder: Path) -> Path:
    """Return a label file whose values are the network's channels; the case's own where these are its indices."""
    if case.label is None:
        raise BadInputError(f"Case {case.id} has no label; training needs one")
    target_of = channels.channel_of()
    if all(label == target for label, target in target_of.items()):
        return Path(case.label)
    table = np.zeros(_VALUES, dtype=np.uint8)
    for label, target in target_of.items():
        table[label] = target
    with preparing("The label"):
        image = nib.load(case.label)
        values = np.asarray(image.dataobj)
    values = values.round().astype(np.int64).clip(0, _VALUES - 1)
    path = folder / f"label-{case.id}.nii"
    nib.save(nib.Nifti1Image(table[values], image.affine, dtype=np.uint8), path)
    return path

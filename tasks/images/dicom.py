"""The instances of a DICOM series → one volume. Refuses what is no regular grid and names what is wrong."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from pydicom.dataset import Dataset

from configs.specs.dataset import OnGap
from infra.adapters.images.base import MOST_BYTES
from tasks.images.geometry import Affine
from tasks.images.pixels import read_pixels
from tasks.images.resample import on_regular_grid
from tasks.images.slices import Slice, read_instances
from tasks.images.stack import stack_affine
from tasks.images.verdict import volume_of


def read_series(folder: Path, on_gap: OnGap = "refuse", *, most_bytes: int = MOST_BYTES) -> tuple[NDArray[Any], Affine]:
    """Read all `.dcm` files of a folder as one volume.

    Args:
        folder: Holds the instances of one series, classic or multi-frame, in any order.
        on_gap: What to do with slices that make no regular grid.
        most_bytes: What its voxels may take in memory.

    Returns:
        Values after rescaling, axes (i, j, k) = (column, row, slice), slices ascending along the cross product of row
        and column direction; integers where slope and intercept are, else float32. And the 4 x 4 affine to LPS mm.

    Raises:
        NoVolumeError: If it is no volume; with `refuse` also if a slice is missing or doubled, or the gantry tilted.
        InvalidRequestError: If it cannot be decoded, or is too large.
    """
    return volume_from(read_instances(folder, most_bytes=most_bytes), on_gap, most_bytes)


def volume_from(
    instances: Sequence[Dataset], on_gap: OnGap = "refuse", most_bytes: int = MOST_BYTES
) -> tuple[NDArray[Any], Affine]:
    """Return what `read_series` does, of instances in memory."""
    stack = volume_of(instances, on_gap)
    values = read_pixels(stack.slices, most_bytes)
    if stack.faults:
        values, affine = on_regular_grid(stack, values, most_bytes)
        return values.T, affine
    return values.T, stack_affine(stack.slices)  # laid out so that writing NIfTI copies nothing


def ordered_slices(instances: Sequence[Dataset]) -> list[Slice]:
    """Return the planes, ascending along the cross product of row and column direction.

    Raises:
        NoVolumeError: If they do not make one regular stack; names the slices.
    """
    return list(volume_of(instances).slices)

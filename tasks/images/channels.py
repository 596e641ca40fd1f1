"""The further channels of an image that is several files, or several series of a study: on the grid of its first."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from configs.errors import InvalidRequestError
from configs.specs.dataset import OnGap
from tasks.images.dicom import volume_from
from tasks.images.geometry import Geometry
from tasks.images.slices import frame_of_reference, read_instances
from tasks.images.volume import Volume, read_volume, write_nifti

CHANNELS = "channel-??.nii"
_SAME_MM = 1e-3  # that two files' voxels may lie apart and be the same


def add_channels(sources: Sequence[Path], folder: Path, first: Geometry, on_gap: OnGap, most_bytes: int) -> None:
    """Write `channel-01.nii` … into the folder, each on the grid of the first channel.

    Files have to lie on it: what was not put on one grid by its owner may not be registered either. DICOM series say
    by their frame of reference that it is: they are interpolated linearly onto it.

    Args:
        sources: A file, or a folder of a series, for each channel after the first.
        folder: Where they go.
        first: The first channel's grid, and what its coordinates refer to.
        on_gap: What is to become of a series that is no regular grid.
        most_bytes: What the voxels of all channels may take in memory together.

    Raises:
        InvalidRequestError: If one cannot be read, or belongs to another grid; it says which one.
    """
    count = len(sources) + 1
    for number, source in enumerate(sources, start=2):
        volume, frame = _read(source, on_gap, most_bytes // count)
        array = volume.array
        if volume.array.shape != first.shape or not np.allclose(volume.affine, first.affine, atol=_SAME_MM):
            if not source.is_dir():
                raise InvalidRequestError(
                    f"File {number} of the image's {count} lies on another grid ({volume.geometry.describe()}) than the"
                    f" first ({first.describe()}): resample it, or list it apart"
                )
            if not frame or frame != first.frame_of_reference:
                raise InvalidRequestError(
                    f"Channel {number} of the image's {count} lies in another frame of reference than the first:"
                    " register the series, or choose another for it"
                )
            array = _resampled(volume, first)
        write_nifti(Volume(array, first.affine), folder / f"channel-{number - 1:02d}.nii")


def _read(source: Path, on_gap: OnGap, most_bytes: int) -> tuple[Volume, str]:
    if not source.is_dir():
        return read_volume(source, most_bytes), ""
    instances = read_instances(source, most_bytes=most_bytes)
    return Volume(*volume_from(instances, on_gap, most_bytes)), frame_of_reference(instances)


def _resampled(volume: Volume, grid: Geometry) -> NDArray[Any]:
    """Return the values on another grid; voxels that the volume does not reach hold its lowest value."""
    from scipy import ndimage  # noqa: PLC0415 - a twelfth of a process's start; only series of other grids need it

    to_index = np.linalg.inv(volume.affine) @ grid.affine
    values = volume.array.astype(np.float32)
    # grid-constant: a centre that lies outside by a rounding error alone is not lost.
    resampled = ndimage.affine_transform(
        values, to_index[:3, :3], to_index[:3, 3], grid.shape, order=1, mode="grid-constant", cval=float(values.min())
    )
    return np.asarray(resampled)

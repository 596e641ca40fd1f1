"""A label map → the file that a viewer or a store wants."""

import gzip
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from configs.errors import InvalidRequestError, NoVolumeError
from tasks.images.dicom import ordered_slices
from tasks.images.geometry import Geometry, place
from tasks.images.stack import stack_affine
from tasks.images.volume import Volume
from tasks.labels.forms.label_map import marked_values

Origin = Literal["MANUAL", "SEMIAUTOMATIC", "AUTOMATIC"]
"""Who made a label: a person; a person out of a model's output; a model."""
GZIP = 16 + 15
"""zlib's word for a gzip header and its largest window."""


def to_nrrd(volume: Volume, *, compressed: bool = True, narrow: bool = True) -> bytes:
    """Return the volume as NRRD in LPS space, in its own order of voxels; *narrow*: as uint8 where that fits."""
    array = volume.array
    if narrow and array.dtype.kind in "iub" and array.size and array.min() >= 0 and array.max() < 2**8:
        array = array.astype(np.uint8, copy=False)
    kinds = {"u1": "uint8", "i1": "int8", "u2": "uint16", "i2": "int16", "u4": "uint32", "i4": "int32", "f4": "float"}
    kind = array.dtype.str[1:]
    if kind not in kinds:
        array, kind = array.astype(np.float32), "f4"
    directions = " ".join(_vector(volume.affine[:3, axis]) for axis in range(3))
    header = (
        "NRRD0004\n"
        f"type: {kinds[kind]}\n"
        "dimension: 3\n"
        "space: left-posterior-superior\n"
        f"sizes: {' '.join(map(str, array.shape))}\n"
        f"space directions: {directions}\n"
        "kinds: domain domain domain\n"
        "endian: little\n"
        f"encoding: {'gzip' if compressed else 'raw'}\n"
        f"space origin: {_vector(volume.affine[:3, 3])}\n\n"
    )
    voxels = array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes(order="F")
    return header.encode("ascii") + (_packed(voxels, labels=kind == "u1") if compressed else voxels)


def _packed(voxels: bytes, *, labels: bool) -> bytes:
    """Return the voxels as gzip, alike for alike ones. Label maps are runs, and best packed as runs: half the size."""
    if not labels:
        return gzip.compress(voxels, compresslevel=1, mtime=0)
    packing = zlib.compressobj(1, zlib.DEFLATED, GZIP, zlib.DEF_MEM_LEVEL, zlib.Z_RLE)
    return packing.compress(voxels) + packing.flush()


def write_seg(
    volume: Volume,
    names: Mapping[int, str],
    series: Sequence[Dataset],
    path: Path,
    *,
    label_id: str,
    author: str,
    origin: Origin,
    model: str = "",
) -> None:
    """Write a BINARY DICOM SEG of a new series that refers to every slice of the source series.

    Series and instance UID follow from `label_id`, so that writing and storing it again makes no second one.

    Args:
        volume: Label map; its grid may have the series' axes in any order.
        names: A segment is made for each value named here, also for those that mark no voxel; a value that is marked
            but has no name here is named by its number.
        series: The source's instances; their pixels are not needed.
        path: The file to write.
        label_id: The catalog's id of this version of the label.
        author: Who saved it; becomes ContentCreatorName.
        origin: Becomes every segment's SegmentAlgorithmType.
        model: Name of the model version, if one took part.

    Raises:
        InvalidRequestError: If a SEG cannot refer to such a series.
        MismatchError: If the label does not lie on the series' grid.
    """
    try:
        slices = ordered_slices(series)
    except NoVolumeError:
        msg = "its image was put on a regular grid here, and a SEG could not refer to slices that its series has not"
        raise InvalidRequestError(msg) from None
    first = slices[0].instance
    grid = Geometry((int(first.Columns), int(first.Rows), len(slices)), stack_affine(slices))
    array = place(volume.array, volume.geometry, grid)
    marked = {value: f"value {value}" for value in marked_values(array)}
    named = {value: name for value, name in sorted({**marked, **names}.items()) if value}
    sources, planes = [plane.instance for plane in slices], _segment_numbers(array, list(named))
    if slices[0].frame is not None:
        if any(source is not first for source in sources):
            raise InvalidRequestError("The image is several multi-frame instances: a SEG can refer to one alone")
        sources, planes = [first], planes[np.argsort([plane.frame or 0 for plane in slices])]
    from tasks.labels.forms.segments import segmentation  # noqa: PLC0415 - 22 MB in every process that never writes one

    seg = segmentation(
        sources,
        planes,
        list(named.values()),
        series_uid=series_uid(label_id),
        instance_uid=generate_uid(entropy_srcs=["instance", label_id]),
        author=author,
        origin=origin,
        model=model,
    )
    seg.save_as(path, enforce_file_format=True)


def series_uid(label_id: str) -> str:
    """Return the SeriesInstanceUID of the SEG that we write of a label."""
    return str(generate_uid(entropy_srcs=["series", label_id]))


def _segment_numbers(array: NDArray[Any], values: list[int]) -> NDArray[Any]:
    """Return planes (slice, row, column) with the segments numbered 1 … n, as DICOM wants them."""
    highest = max(int(array.max(initial=0)), *values, 0)
    table = np.zeros(highest + 1, dtype=np.uint8 if len(values) < 2**8 else np.uint16)
    for number, value in enumerate(values, start=1):
        table[value] = number
    return np.ascontiguousarray(table[array].T)


def _vector(values: NDArray[Any]) -> str:
    return f"({','.join(repr(float(value)) for value in values)})"

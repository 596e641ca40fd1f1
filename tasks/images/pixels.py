"""Stored values of slices → real values, whatever the transfer syntax."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_modality_lut
from pydicom.pixels.utils import pixel_array

from configs.errors import InvalidRequestError
from infra.adapters.images.base import MOST_BYTES
from infra.adapters.images.part10 import DAMAGE, readable
from tasks.images.bounds import refuse_too_large
from tasks.images.encapsulated import check_frames
from tasks.images.slices import Slice

_VALUE_BYTES = 4
_PLAIN = (8, 16)
_SHORT = np.iinfo(np.int16)


def read_pixels(slices: Sequence[Slice], most_bytes: int = MOST_BYTES) -> NDArray[Any]:
    """Return rescaled values (slice, row, column): whole numbers where slopes and intercepts are, else float32.

    Padding, which lies outside what was measured, becomes the lowest value of the volume.

    Args:
        slices: Of one size, in ascending order.
        most_bytes: What the values may take in memory.

    Raises:
        InvalidRequestError: If it is too large, or a slice cannot be decoded; names the slice and its transfer syntax.
    """
    first = slices[0].instance
    with readable("The series does not say how its pixels are stored: convert it"):
        whole = all(
            plane.slope == 1 and plane.intercept.is_integer() and "ModalityLUTSequence" not in plane.rescale
            for plane in slices
        )
        kind = _kind(slices) if whole else np.float32
    refuse_too_large(len(slices) * int(first.Rows) * int(first.Columns) * _VALUE_BYTES, most_bytes)
    stack = np.empty((len(slices), first.Rows, first.Columns), dtype=kind)
    padded = np.zeros(stack.shape, dtype=bool) if any("PixelPaddingValue" in each.instance for each in slices) else None
    checked = set[int]()
    for index, plane in enumerate(slices):
        try:
            if id(plane.instance) not in checked:
                check_frames(plane.instance, int(plane.instance.get("NumberOfFrames", 1) or 1))
                checked.add(id(plane.instance))
            stored = _unused_bits_cleared(_stored(plane), plane.instance)
            if padded is not None:
                padded[index] = _is_padding(stored, plane.instance)
            stack[index] = stored if whole else apply_modality_lut(stored, plane.rescale)
            if whole:
                stack[index] += stack.dtype.type(plane.intercept)
        except DAMAGE as error:
            why = f"({_syntax(plane.instance)}) cannot be decoded ({type(error).__name__})"
            raise InvalidRequestError(f"Slice {plane.name} {why}: convert the series") from None
    if padded is not None and padded.any() and not padded.all():
        stack[padded] = stack[~padded].min()
    if stack.dtype == np.int32 and stack.min() >= _SHORT.min and stack.max() <= _SHORT.max:
        stack = stack.astype(np.int16)
    return stack


def _kind(slices: Sequence[Slice]) -> type[np.int16 | np.int32]:
    """Return int16 where every value that may be stored becomes one, else int32."""
    for plane in slices:
        bits, signed = int(plane.instance.BitsStored), bool(plane.instance.PixelRepresentation)
        low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1)) if signed else (0, 2**bits)
        if low + plane.intercept < _SHORT.min or high - 1 + plane.intercept > _SHORT.max:
            return np.int32
    return np.int16


def _stored(plane: Slice) -> NDArray[Any]:
    """Return the stored values (row, column); where they stand as they are, without a copy."""
    instance = plane.instance
    bits, syntax = instance.BitsAllocated, instance.file_meta.TransferSyntaxUID
    if syntax.is_encapsulated or not syntax.is_little_endian or bits not in _PLAIN or "PixelData" not in instance:
        return pixel_array(instance, index=plane.frame)
    kind = np.dtype(f"<{'i' if instance.PixelRepresentation else 'u'}{bits // 8}")
    rows, columns = int(instance.Rows), int(instance.Columns)
    start = (plane.frame or 0) * rows * columns * kind.itemsize
    return np.frombuffer(instance.PixelData, kind, rows * columns, start).reshape(rows, columns)


def _syntax(instance: Dataset) -> str:
    try:
        return str(instance.file_meta.TransferSyntaxUID.name)
    except DAMAGE:
        return "no transfer syntax"


def _unused_bits_cleared(stored: NDArray[Any], instance: Dataset) -> NDArray[Any]:
    """Return the values without what stands in bits that are not theirs, such as an old overlay."""
    unused = int(instance.BitsAllocated) - int(instance.BitsStored)
    if unused <= 0 or stored.dtype.kind not in "iu":
        return stored
    unused += 8 * stored.dtype.itemsize - int(instance.BitsAllocated)
    return np.asarray((stored << unused) >> unused)


def _is_padding(stored: NDArray[Any], instance: Dataset) -> NDArray[np.bool_] | bool:
    """Say which stored values are padding (DICOM PS3.3, C.7.5.1.1.2): one value, or all between two."""
    value = instance.get("PixelPaddingValue")
    if value is None:
        return False
    limit = instance.get("PixelPaddingRangeLimit")
    ends = sorted((int(value), int(value if limit is None else limit)))
    return np.asarray((stored >= ends[0]) & (stored <= ends[1]))

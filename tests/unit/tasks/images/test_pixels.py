"""Stored values become the ones that another reader finds, however they are packed."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
from numpy.typing import NDArray
from pydicom.dataset import FileDataset
from pydicom.uid import (
    JPEG2000Lossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from configs.errors import InvalidRequestError
from tasks.images.dicom import read_series
from tests.dicom_series import make_series, oblique_affine, save_series
from tests.processes import skip_or_fail

SHAPE = (64, 48, 4)


def _values(low: int, high: int) -> NDArray[np.int32]:
    """Return values that span a range, smooth enough for a lossy code."""
    i, j, k = np.indices(SHAPE)
    whole = i + 2 * j + 3 * k
    return np.asarray(low + whole * (high - low) // whole.max())


def _stored(values: NDArray[np.int32], *, signed: bool, bits: int, intercept: int = 0) -> list[FileDataset]:
    """Return a series of stored values of so many bits."""
    instances = make_series(np.zeros(SHAPE, np.int16), oblique_affine(), intercept=intercept)
    allocated = 8 if bits <= 8 else 16
    kind = f"<{'i' if signed else 'u'}{allocated // 8}"
    for number, instance in enumerate(instances):
        plane = values[:, :, SHAPE[2] - 1 - number].T & (2**bits - 1)  # what is not theirs of the bits is empty
        instance.BitsAllocated, instance.BitsStored, instance.HighBit = allocated, bits, bits - 1
        instance.PixelRepresentation = int(signed)
        instance.PixelData = plane.astype(f"<u{allocated // 8}").astype(kind).tobytes()
    return instances


def _by_another_reader(folder: Path) -> NDArray[np.float64]:
    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    return np.asarray(SimpleITK.GetArrayFromImage(reader.Execute()).T)


def _packed_by_dcmtk(folder: Path, *command: str) -> None:
    if shutil.which(command[0]) is None:
        skip_or_fail("DCMTK's tools are not installed here: apt-get install dcmtk.")
    for path in folder.glob("*.dcm"):
        subprocess.run([*command, str(path), str(path)], check=True)


@pytest.mark.parametrize(
    ("low", "high", "signed", "bits"),
    [
        (0, 255, False, 8),
        (0, 4095, False, 12),
        (-2048, 2047, True, 12),
        (0, 65535, False, 16),
        (-32768, 32767, True, 16),
    ],
)
def test_signs_and_bits_are_read_as_another_reader_does(
    low: int, high: int, signed: bool, bits: int, tmp_path: Path
) -> None:
    folder = save_series(_stored(_values(low, high), signed=signed, bits=bits, intercept=-10), tmp_path)

    array, _ = read_series(folder)

    np.testing.assert_array_equal(array, _values(low, high) - 10)
    np.testing.assert_array_equal(array, _by_another_reader(folder))


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless, JPEG2000Lossless])
@pytest.mark.parametrize(("low", "high", "signed", "bits"), [(0, 4095, False, 12), (-1024, 3071, True, 16)])
def test_lossless_codes_give_the_same_values(
    syntax: str, low: int, high: int, signed: bool, bits: int, tmp_path: Path
) -> None:
    instances = _stored(_values(low, high), signed=signed, bits=bits)
    for instance in instances:
        instance.compress(syntax)

    array, _ = read_series(save_series(instances, tmp_path))

    np.testing.assert_array_equal(array, _values(low, high))


@pytest.mark.parametrize(("low", "high", "signed", "bits"), [(0, 4095, False, 12), (-1024, 3071, True, 16)])
@pytest.mark.parametrize("command", [("dcmcjpeg", "+e1"), ("dcmcjpls", "+el")])
def test_codes_of_dcmtk_give_the_same_values(
    command: tuple[str, ...], low: int, high: int, signed: bool, bits: int, tmp_path: Path
) -> None:
    folder = save_series(_stored(_values(low, high), signed=signed, bits=bits), tmp_path)
    _packed_by_dcmtk(folder, *command)

    array, _ = read_series(folder)

    np.testing.assert_array_equal(array, _values(low, high))


def test_baseline_jpeg_is_read_within_what_it_loses(tmp_path: Path) -> None:
    folder = save_series(_stored(_values(0, 255), signed=False, bits=8), tmp_path)
    _packed_by_dcmtk(folder, "dcmcjpeg", "+eb", "+q", "95")

    array, _ = read_series(folder)

    assert np.abs(array - _values(0, 255)).max() <= 8
    np.testing.assert_allclose(array, _by_another_reader(folder), atol=1)


def test_an_old_overlay_in_the_unused_bits_is_no_value(tmp_path: Path) -> None:
    instances = _stored(_values(0, 4095), signed=False, bits=12)
    for instance in instances:
        stored = np.frombuffer(instance.PixelData, "<u2") | 0x5000
        instance.PixelData = stored.astype("<u2").tobytes()

    array, _ = read_series(save_series(instances, tmp_path))

    np.testing.assert_array_equal(array, _values(0, 4095))


def test_every_slice_of_a_pet_has_its_own_slope(tmp_path: Path) -> None:
    instances = _stored(_values(0, 30000), signed=False, bits=16)
    for number, instance in enumerate(instances, start=1):
        instance.RescaleSlope, instance.RescaleIntercept = 0.25 * number, number

    array, _ = read_series(save_series(instances, tmp_path))

    numbers = np.arange(SHAPE[2], 0, -1)
    np.testing.assert_allclose(array, _values(0, 30000) * 0.25 * numbers + numbers, rtol=1e-6)
    assert array.dtype == np.float32


def test_monochrome1_is_a_way_to_show_values_not_another_value(tmp_path: Path) -> None:
    instances = _stored(_values(0, 4095), signed=False, bits=12)
    for instance in instances:
        instance.PhotometricInterpretation = "MONOCHROME1"

    array, _ = read_series(save_series(instances, tmp_path))

    np.testing.assert_array_equal(array, _values(0, 4095))


def test_padding_becomes_the_lowest_value_that_was_measured(tmp_path: Path) -> None:
    values = _values(0, 3000)
    values[0, :, :], values[1, :, :] = -2000, -1990
    instances = _stored(values, signed=True, bits=16, intercept=-1024)
    for instance in instances:
        instance.add_new("PixelPaddingValue", "SS", -2000)
        instance.add_new("PixelPaddingRangeLimit", "SS", -1990)

    array, _ = read_series(save_series(instances, tmp_path))

    np.testing.assert_array_equal(array[2:], values[2:] - 1024)
    assert (array[:2] == values[2:].min() - 1024).all()


def test_damaged_pixels_are_named_by_slice_and_syntax(tmp_path: Path) -> None:
    instances = _stored(_values(0, 4095), signed=False, bits=12)
    instances[2].PixelData = instances[2].PixelData[:20]

    with pytest.raises(InvalidRequestError, match=r"Slice 3 \(Explicit VR Little Endian\) cannot be decoded"):
        read_series(save_series(instances, tmp_path))


def test_damaged_compressed_pixels_are_named_too(tmp_path: Path) -> None:
    folder = save_series(_stored(_values(0, 4095), signed=False, bits=12), tmp_path)
    _packed_by_dcmtk(folder, "dcmcjpeg", "+e1")
    path = folder / "0001.dcm"
    content = path.read_bytes()
    start = content.index(b"\xff\xda")  # of the scan
    path.write_bytes(content[: start - 40] + bytes(80) + content[start + 40 :])

    with pytest.raises(InvalidRequestError, match=f"Slice 2 .*{JPEGLosslessSV1.name[:13]}"):
        read_series(folder)

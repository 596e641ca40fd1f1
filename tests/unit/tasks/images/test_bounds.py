"""What a header announces is checked before memory is taken for it."""

import struct
import tracemalloc
import zlib
from pathlib import Path

import nibabel
import numpy as np
import pytest
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import DeflatedExplicitVRLittleEndian, JPEG2000Lossless

from configs.errors import InvalidRequestError
from infra.adapters.images.part10 import read_dicom
from tasks.images.dicom import read_series
from tasks.images.encapsulated import size_of
from tasks.images.volume import read_geometry, read_volume
from tests.dicom_series import SHAPE, asymmetric, make_series, oblique_affine, save_series

NRRD = "NRRD0004\ntype: uint8\ndimension: 3\nsizes: {}\nencoding: {}\n{}\n"


@pytest.mark.parametrize(
    "field", ["data file: secret.raw\n", "DATA FILE: secret.raw\n", "# a\rdata file: secret.raw\n"]
)
def test_an_nrrd_whose_voxels_are_another_file_is_refused(field: str, tmp_path: Path) -> None:
    (tmp_path / "secret.raw").write_bytes(b"S" * 64)
    (tmp_path / "a.nrrd").write_bytes(NRRD.format("4 4 4", "raw", field).encode() + bytes(64))

    for read in (read_volume, read_geometry):
        with pytest.raises(InvalidRequestError, match="another file"):
            read(tmp_path / "a.nrrd")


@pytest.mark.parametrize(("encoding", "there"), [("raw", 1000), ("gzip", 10), ("ascii", 100)])
def test_an_nrrd_that_announces_more_than_is_there_is_refused(encoding: str, there: int, tmp_path: Path) -> None:
    (tmp_path / "a.nrrd").write_bytes(NRRD.format("30 30 30", encoding, "").encode() + bytes(there))

    with pytest.raises(InvalidRequestError, match="last voxel"):
        read_volume(tmp_path / "a.nrrd")


def test_a_volume_larger_than_is_allowed_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.nrrd").write_bytes(NRRD.format("10 10 10", "raw", "").encode() + bytes(1000))
    scaled = nibabel.Nifti1Image(np.zeros((10, 10, 10), np.uint8), np.eye(4))
    scaled.header.set_slope_inter(0.5, 0)
    nibabel.save(scaled, tmp_path / "a.nii.gz")
    folder = save_series(make_series(asymmetric((10, 10, 10)), oblique_affine()), tmp_path / "series")

    assert read_volume(tmp_path / "a.nrrd", most_bytes=1000).array.size == 1000
    for path, most in (("a.nrrd", 999), ("a.nii.gz", 7999), ("series", 3999)):
        with pytest.raises(InvalidRequestError, match="volume_mib"):
            read_volume(tmp_path / path, most_bytes=most)
    assert folder.is_dir()


def test_slices_that_say_they_are_far_apart_are_not_filled_in_without_end(tmp_path: Path) -> None:
    series = make_series(asymmetric(), oblique_affine())
    series[0].ImagePositionPatient = [float(value) * 1e6 for value in series[0].ImagePositionPatient]

    with pytest.raises(InvalidRequestError, match="volume_mib"):
        read_series(save_series(series, tmp_path), "resample", most_bytes=10**6)


def test_a_deflated_file_is_unpacked_no_further_than_allowed(tmp_path: Path) -> None:
    instance = make_series(asymmetric(), oblique_affine())[0]
    instance.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    instance.PixelData = bytes(10**7)
    instance.save_as(tmp_path / "a.dcm", enforce_file_format=True)

    assert (tmp_path / "a.dcm").stat().st_size < 10**5
    assert len(read_dicom(tmp_path / "a.dcm", most_bytes=2 * 10**7).PixelData) == 10**7
    with pytest.raises(InvalidRequestError, match="volume_mib"):
        read_dicom(tmp_path / "a.dcm", most_bytes=10**6)


def test_an_element_s_length_takes_no_memory(tmp_path: Path) -> None:
    instance = make_series(asymmetric(), oblique_affine())[0]
    instance.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    content = (tmp_path / "a.dcm").read_bytes()
    pixels = content.rindex(b"\xe0\x7f\x10\x00OW\0\0")
    lie = content[: pixels + 8] + struct.pack("<I", 2**32 - 2) + content[pixels + 12 :]
    (tmp_path / "a.dcm").write_bytes(lie)

    tracemalloc.start()
    try:
        read_dicom(tmp_path / "a.dcm")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2**24


def test_a_compressed_frame_that_says_another_size_is_not_decoded(tmp_path: Path) -> None:
    series = make_series(asymmetric((64, 48, 3)), oblique_affine())
    for instance in series:
        instance.compress(JPEG2000Lossless)
    [frame] = generate_frames(series[1].PixelData, number_of_frames=1)
    at = frame.index(b"\xff\x4f\xff\x51") + 8
    series[1].PixelData = encapsulate([frame[:at] + struct.pack(">II", 60_000, 60_000) + frame[at + 8 :]])

    assert size_of(frame) == (48, 64)
    with pytest.raises(InvalidRequestError, match=r"Slice 2 .* cannot be decoded"):
        read_series(save_series(series, tmp_path))


def test_what_is_packed_a_thousandfold_stops_at_the_announced_size(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(np.zeros(SHAPE, np.uint8), np.eye(4))
    packer = zlib.compressobj(9, wbits=31)
    content = packer.compress(image.to_bytes() + bytes(2**26)) + packer.flush()
    (tmp_path / "a.nii.gz").write_bytes(content)

    tracemalloc.start()
    try:
        assert read_volume(tmp_path / "a.nii.gz").array.shape == SHAPE
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2**24

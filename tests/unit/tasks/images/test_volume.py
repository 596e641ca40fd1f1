"""Files keep their voxels and their place."""

import zlib
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK

from configs.errors import InvalidRequestError, MismatchError
from tasks.images.volume import Volume, read_geometry, read_volume, write_nifti
from tests.dicom_series import SHAPE, asymmetric, oblique_affine


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_a_written_nifti_is_read_back_exactly(name: str, tmp_path: Path) -> None:
    write_nifti(Volume(asymmetric(), oblique_affine()), tmp_path / name)

    volume = read_volume(tmp_path / name)

    np.testing.assert_array_equal(volume.array, asymmetric())
    assert volume.array.dtype == np.int16
    np.testing.assert_allclose(volume.affine, oblique_affine(), atol=1e-5)


def test_another_reader_of_nifti_sees_the_same_place(tmp_path: Path) -> None:
    write_nifti(Volume(asymmetric(), oblique_affine()), tmp_path / "a.nii")

    image = SimpleITK.ReadImage(str(tmp_path / "a.nii"))  # gives LPS

    np.testing.assert_allclose(
        image.TransformIndexToPhysicalPoint((6, 1, 3)), (oblique_affine() @ [6, 1, 3, 1])[:3], atol=1e-4
    )
    assert image.GetPixel(6, 1, 3) == asymmetric()[6, 1, 3]


def test_an_nrrd_and_a_nifti_of_one_volume_are_read_alike(tmp_path: Path) -> None:
    write_nifti(Volume(asymmetric(), oblique_affine()), tmp_path / "a.nii")
    SimpleITK.WriteImage(SimpleITK.ReadImage(str(tmp_path / "a.nii")), str(tmp_path / "a.nrrd"))

    volume, geometry = read_volume(tmp_path / "a.nrrd"), read_geometry(tmp_path / "a.nrrd")

    np.testing.assert_array_equal(volume.array, asymmetric())
    np.testing.assert_allclose(volume.affine, oblique_affine(), atol=1e-4)
    assert geometry.shape == SHAPE
    np.testing.assert_allclose(geometry.affine, volume.affine)


def test_scale_factors_are_applied(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(asymmetric(), np.eye(4))
    image.header.set_slope_inter(0.5, 10)
    nibabel.save(image, tmp_path / "a.nii")

    np.testing.assert_allclose(read_volume(tmp_path / "a.nii").array, nibabel.load(tmp_path / "a.nii").get_fdata())


def test_a_fourth_axis_of_more_than_one_is_refused(tmp_path: Path) -> None:
    nibabel.save(nibabel.Nifti1Image(np.zeros((3, 3, 3, 2), np.uint8), np.eye(4)), tmp_path / "a.nii")

    with pytest.raises(MismatchError, match="3 x 3 x 3 x 2"):
        read_volume(tmp_path / "a.nii")


@pytest.mark.parametrize("name", ["secret-name.nii", "secret-name.nii.gz", "secret-name.nrrd", "secret-name.txt"])
def test_damaged_files_are_refused_without_their_name(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"NRRD0004\nnonsense\n\n")

    for reader in (read_volume, read_geometry):
        with pytest.raises(InvalidRequestError) as caught:
            reader(tmp_path / name)
        assert "secret" not in str(caught.value)


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    write_nifti(Volume(asymmetric(), oblique_affine()), tmp_path / "a.nii.gz")
    whole = (tmp_path / "a.nii.gz").read_bytes()
    (tmp_path / "a.nii.gz").write_bytes(whole[: len(whole) // 2])

    with pytest.raises(InvalidRequestError):
        read_volume(tmp_path / "a.nii.gz")


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    ("name", "dtype"),
    [("MET_UCHAR", "u1"), ("MET_SHORT", "i2"), ("MET_LONG", "i4"), ("MET_ULONG_LONG", "u8"), ("MET_FLOAT", "f4")],
)
def test_a_metaimage_is_read_as_its_own_reader_reads_it(tmp_path: Path, name: str, dtype: str, *, packed: bool) -> None:
    voxels = asymmetric(low=0).astype(f">{dtype}").tobytes(order="F")
    content = zlib.compress(voxels) if packed else voxels
    header = (
        f"ObjectType = Image\nNDims = 3\nBinaryData = True\nBinaryDataByteOrderMSB = True\nCompressedData = {packed}\n"
        "TransformMatrix = 0 1 0 0.6 0 0.8 0.8 0 -0.6\nOffset = 1 2.5 -3\nCenterOfRotation = 0 0 0\n"
        f"CompressedDataSize = {len(content)}\nElementSpacing = 1 2 3\nDimSize = 7 6 5\n"
        f"ElementType = {name}\nSegment0_Name = liver\nElementDataFile = LOCAL\n"
    )
    path = tmp_path / "a.mha"
    path.write_bytes(header.encode() + content)

    volume, geometry, theirs = read_volume(path), read_geometry(path), SimpleITK.ReadImage(str(path))

    np.testing.assert_array_equal(volume.array, SimpleITK.GetArrayFromImage(theirs).T)
    assert (volume.array.dtype, volume.notes["Segment0_Name"]) == (np.dtype(dtype), "liver")
    np.testing.assert_allclose(geometry.affine, volume.affine)
    np.testing.assert_allclose(
        theirs.TransformIndexToPhysicalPoint((6, 1, 3)), (volume.affine @ [6, 1, 3, 1])[:3], atol=1e-6
    )

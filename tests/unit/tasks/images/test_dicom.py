"""The instances of a series become one volume, or are refused by name."""

from pathlib import Path

import numpy as np
import pydicom
import pytest
from highdicom import Image, legacy
from pydicom.uid import RLELossless, generate_uid

from configs.errors import InvalidRequestError
from tasks.images.dicom import read_series
from tests.dicom_series import SHAPE, as_multi_frame, asymmetric, make_series, oblique_affine, save_series


def test_an_oblique_series_stored_in_descending_order_is_read_ascending(tmp_path: Path) -> None:
    array, affine = read_series(save_series(make_series(asymmetric(), oblique_affine()), tmp_path))

    np.testing.assert_array_equal(array, asymmetric())
    assert array.dtype == np.int16
    np.testing.assert_allclose(affine, oblique_affine(), atol=1e-4)


def test_slices_ascend_along_the_cross_product_even_where_the_patient_s_axis_descends(tmp_path: Path) -> None:
    affine = np.diag([1.0, -1.0, -2.0, 1.0])

    array, found = read_series(save_series(make_series(asymmetric(), affine), tmp_path))

    np.testing.assert_array_equal(array, asymmetric())
    np.testing.assert_allclose(found, affine, atol=1e-6)


def test_compressed_slices_are_decoded(tmp_path: Path) -> None:
    instances = make_series(asymmetric(), oblique_affine())
    for instance in instances:
        instance.compress(RLELossless)

    array, _ = read_series(save_series(instances, tmp_path))

    np.testing.assert_array_equal(array, asymmetric())


def test_a_slope_of_its_own_per_slice_is_applied(tmp_path: Path) -> None:
    instances = make_series(asymmetric(low=0), oblique_affine(), intercept=0)
    for number, instance in enumerate(instances, start=1):
        instance.RescaleSlope = number / 2

    array, _ = read_series(save_series(instances, tmp_path))

    slopes = np.arange(SHAPE[2], 0, -1) / 2
    np.testing.assert_allclose(array, asymmetric(low=0) * slopes)


def test_a_missing_slice_is_named(tmp_path: Path) -> None:
    instances = make_series(asymmetric(), oblique_affine())
    del instances[2]

    with pytest.raises(InvalidRequestError, match=r"usual 2\.50 mm between slices 4 and 2 \(5\.00 mm\)"):
        read_series(save_series(instances, tmp_path))


def test_a_doubled_slice_is_named(tmp_path: Path) -> None:
    instances = make_series(asymmetric(), oblique_affine())

    with pytest.raises(InvalidRequestError, match="slices 3 and 3 lie at one place"):
        read_series(save_series([*instances, instances[2]], tmp_path))


def test_rounded_positions_are_no_gap(tmp_path: Path) -> None:
    instances = make_series(asymmetric(), oblique_affine())
    for instance in instances:
        instance.ImagePositionPatient = [round(value, 1) for value in instance.ImagePositionPatient]

    array, _ = read_series(save_series(instances, tmp_path))

    np.testing.assert_array_equal(array, asymmetric())


def test_slices_in_other_directions_are_refused(tmp_path: Path) -> None:
    instances = make_series(asymmetric(), oblique_affine())
    instances[0].ImageOrientationPatient = [1, 0, 0, 0, 1, 0]

    with pytest.raises(InvalidRequestError, match="differ in size, spacing or direction"):
        read_series(save_series(instances, tmp_path))


@pytest.mark.parametrize("content", [b"", b"not a DICOM file"])
def test_a_file_that_is_no_dicom_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.dcm").write_bytes(content)

    with pytest.raises(InvalidRequestError):
        read_series(tmp_path)


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequestError, match="empty"):
        read_series(tmp_path)


def test_a_multi_frame_image_is_read_by_its_frames_positions(tmp_path: Path) -> None:
    enhanced = legacy.LegacyConvertedEnhancedCTImage(
        make_series(asymmetric(), oblique_affine()), generate_uid(), 1, generate_uid(), 1
    )
    enhanced.save_as(tmp_path / "a.dcm", enforce_file_format=True)

    array, affine = read_series(tmp_path)

    np.testing.assert_array_equal(array, asymmetric())
    np.testing.assert_allclose(affine, oblique_affine(), atol=1e-4)


@pytest.mark.parametrize("stacks", [(), ["upper", "lower", "upper", "lower", "lower"]])
def test_shuffled_frames_of_an_enhanced_image_are_put_in_order(stacks: list[str], tmp_path: Path) -> None:
    series = make_series(asymmetric(), oblique_affine())
    shuffled = [series[index] for index in (3, 0, 4, 1, 2)]
    as_multi_frame(shuffled, stacks=stacks).save_as(tmp_path / "a.dcm", enforce_file_format=True)

    array, affine = read_series(tmp_path)

    np.testing.assert_array_equal(array, asymmetric())
    np.testing.assert_allclose(affine, oblique_affine(), atol=1e-4)
    other = Image.from_dataset(pydicom.dcmread(tmp_path / "a.dcm")).get_volume(dtype=np.int32)
    for index in np.ndindex(*other.spatial_shape):
        place = other.map_indices_to_reference(np.array([index]))[0]
        i, j, k = np.rint(np.linalg.inv(affine) @ [*place, 1])[:3].astype(int)
        assert other.array[index] == array[i, j, k]


def test_an_enhanced_image_in_several_instances_is_one_volume(tmp_path: Path) -> None:
    series = make_series(asymmetric(), oblique_affine())
    save_series([as_multi_frame(series[:2]), as_multi_frame(series[2:])], tmp_path)

    array, _ = read_series(tmp_path)

    np.testing.assert_array_equal(array, asymmetric())

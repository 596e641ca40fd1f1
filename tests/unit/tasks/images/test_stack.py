"""Slices that make no regular grid are named and refused, or interpolated where the data set says so."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
from pydicom.dataset import FileDataset
from pydicom.uid import generate_uid

from configs.errors import NoVolumeError
from tasks.images.dicom import read_series, volume_from
from tests.dicom_series import asymmetric, make_series, oblique_affine, save_series

SHAPE = (6, 5, 9)


def _moved(instances: list[FileDataset], number: int, along: float) -> None:
    """Move the slice of this InstanceNumber along the normal, in mm."""
    instance = instances[number - 1]
    directions = np.array(instance.ImageOrientationPatient, dtype=float).reshape(2, 3)
    position = np.array(instance.ImagePositionPatient, dtype=float) + along * np.cross(*directions)
    instance.ImagePositionPatient = [round(float(value), 6) for value in position]


def _smooth(i: np.ndarray, j: np.ndarray, k: np.ndarray) -> np.ndarray:
    """Return values that are linear in the place, so that linear interpolation is exact."""
    return np.asarray(20 * i + 10 * j + 40 * k)


def test_another_reader_finds_the_same_values_at_the_same_places(tmp_path: Path) -> None:
    array = asymmetric(SHAPE)
    folder = save_series(make_series(array, oblique_affine()), tmp_path)

    ours, affine = read_series(folder)

    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    theirs = reader.Execute()
    to_index = np.linalg.inv(affine)
    for index in np.ndindex(*theirs.GetSize()):
        place = theirs.TransformIndexToPhysicalPoint([int(part) for part in index])
        found = to_index @ [*place, 1]
        i, j, k = np.rint(found[:3]).astype(int)
        assert np.abs(found[:3] - (i, j, k)).max() < 1e-3
        assert ours[i, j, k] == theirs[[int(part) for part in index]]


@pytest.mark.parametrize("along", [0.09, -0.09])
def test_a_spacing_within_a_tenth_of_a_millimetre_is_regular(along: float) -> None:
    instances = make_series(asymmetric(SHAPE), oblique_affine())
    _moved(instances, 4, along)

    array, _ = volume_from(instances)

    np.testing.assert_array_equal(array, asymmetric(SHAPE))


def test_a_spacing_within_one_per_cent_is_regular() -> None:
    affine = oblique_affine((1, 1, 20))
    instances = make_series(asymmetric(SHAPE), affine)
    _moved(instances, 4, 0.19)

    array, _ = volume_from(instances)

    np.testing.assert_array_equal(array, asymmetric(SHAPE))


@pytest.mark.parametrize(
    ("spoil", "named"),
    [
        (lambda series: _moved(series, 4, 0.12), r"between slices 5 and 4 \(2\.62 mm\), 4 and 3 \(2\.38 mm\)"),
        (lambda series: series.pop(4), r"between slices 6 and 4 \(5\.00 mm\)"),
        (lambda series: series.append(series[6]), r"slices 7 and 7 lie at one place"),
    ],
)
def test_what_is_no_regular_grid_is_refused_by_the_slices_numbers(
    spoil: Callable[[list[FileDataset]], None], named: str
) -> None:
    instances = make_series(asymmetric(SHAPE), oblique_affine())
    spoil(instances)

    with pytest.raises(NoVolumeError, match=named) as caught:
        volume_from(instances)

    assert caught.value.kind == "irregular"
    assert str(instances[0].SeriesInstanceUID) not in str(caught.value)
    assert "on_gap: resample" in str(caught.value)


def test_small_deviations_that_add_up_are_refused() -> None:
    instances = make_series(asymmetric((3, 3, 41)), oblique_affine((1, 1, 1)))
    for number in range(1, 42):  # the upper half is a little thicker, the lower a little thinner, within what gaps may
        height = 41 - number
        _moved(instances, number, 0.05 * min(height, 40 - height))

    with pytest.raises(NoVolumeError, match=r"lies 1\.00 mm away from its place"):
        volume_from(instances)


def test_a_tilted_gantry_is_refused_with_its_angle() -> None:
    affine = np.diag([1.0, 1.0, 2.0, 1.0])
    affine[1, 2] = 0.5

    with pytest.raises(NoVolumeError, match=r"tilted by 14\.0 degrees: slices 9 to 1"):
        volume_from(make_series(asymmetric(SHAPE), affine))


def test_a_slice_beside_the_axis_is_refused() -> None:
    instances = make_series(asymmetric(SHAPE), np.diag([1.0, 1.0, 2.0, 1.0]))
    instances[3].ImagePositionPatient[0] += 1

    with pytest.raises(NoVolumeError, match=r"slices 4 \(1\.00 mm\) lie beside"):
        volume_from(instances)


def test_a_missing_slice_is_interpolated_where_the_data_set_says_so() -> None:
    whole = _smooth(*np.indices(SHAPE)).astype(np.int16)
    instances = make_series(whole, oblique_affine())
    del instances[3:5]

    array, affine = volume_from(instances, "resample")

    np.testing.assert_array_equal(array, whole)
    assert array.dtype == np.int16
    np.testing.assert_allclose(affine, oblique_affine(), atol=1e-4)


def test_a_slice_that_is_there_twice_counts_once_where_the_data_set_says_so() -> None:
    instances = make_series(asymmetric(SHAPE), oblique_affine())

    array, _ = volume_from([*instances, instances[2]], "resample")

    np.testing.assert_array_equal(array, asymmetric(SHAPE))


def test_a_tilt_is_taken_out_where_the_data_set_says_so() -> None:
    tilted = np.diag([1.0, 1.0, 2.0, 1.0])
    tilted[1, 2] = 0.5  # 14 degrees: each slice half a voxel further along the columns
    i, j, k = np.indices((6, 20, 9))
    instances = make_series(_smooth(i, j + 0.5 * k, k).astype(np.int16), tilted)  # a function of the place alone

    array, affine = volume_from(instances, "resample")

    np.testing.assert_allclose(affine, np.diag([1.0, 1.0, 2.0, 1.0]), atol=1e-6)
    assert array.shape == (6, 24, 9)
    inner = np.indices((6, 15, 9))
    np.testing.assert_array_equal(array[:, 4:19], _smooth(inner[0], inner[1] + 4, inner[2]))


def test_the_last_of_several_volumes_may_be_cut_and_they_are_told_apart() -> None:
    phases = []
    for phase in range(3):
        series = make_series(asymmetric(SHAPE), oblique_affine(), series_uid=generate_uid())
        for instance in series:
            instance.TemporalPositionIdentifier = phase + 1
        phases += series

    with pytest.raises(NoVolumeError, match="4-D: it holds 3 volumes at the same 9 positions"):
        volume_from(phases)
    with pytest.raises(NoVolumeError, match="4-D: it holds 3 volumes"):
        volume_from(phases[:-4], "resample")

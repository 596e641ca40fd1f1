"""What is written is read back voxel by voxel, on a volume where no two axes can be mistaken for each other."""

from pathlib import Path

import highdicom
import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray

from configs.errors import InvalidRequestError, MismatchError
from tasks.images.geometry import Geometry
from tasks.images.volume import Volume, read_volume, write_nifti
from tasks.labels.forms.read import ending_of, read_label
from tasks.labels.forms.write import Origin, to_nrrd, write_seg
from tests.dicom_series import SHAPE, asymmetric, make_series, oblique_affine

IMAGE = Geometry(SHAPE, oblique_affine())
NAMES = {2: "Left kidney", 5: "liver", 9: "spleen"}


@pytest.fixture
def marks() -> NDArray[np.uint8]:
    """A label map with three values, an empty slice, and no symmetry."""
    array = np.zeros(SHAPE, np.uint8)
    array[1:3, 0, 0] = 2
    array[4:, 3:5, 1] = 5
    array[0, 5, 3:] = 2
    return array


@pytest.mark.parametrize("compressed", [True, False])
def test_nrrd(marks: NDArray[np.uint8], compressed: bool, tmp_path: Path) -> None:
    (tmp_path / "a.nrrd").write_bytes(to_nrrd(Volume(marks, IMAGE.affine), compressed=compressed))

    label = read_label(tmp_path / "a.nrrd", IMAGE)

    np.testing.assert_array_equal(label.array, marks)
    assert label.array.dtype == np.uint8
    np.testing.assert_allclose(read_volume(tmp_path / "a.nrrd").affine, IMAGE.affine, atol=1e-9)


def test_nifti(marks: NDArray[np.uint8], tmp_path: Path) -> None:
    write_nifti(Volume(marks, IMAGE.affine), tmp_path / "a.nii.gz")

    np.testing.assert_array_equal(read_label(tmp_path / "a.nii.gz", IMAGE).array, marks)


def test_seg_on_a_series_stored_in_descending_order(marks: NDArray[np.uint8], tmp_path: Path) -> None:
    series = make_series(asymmetric(), oblique_affine())
    path = tmp_path / "a.dcm"
    write_seg(Volume(marks, IMAGE.affine), NAMES, list(series), path, label_id="x", author="Eve^\\=x", origin="MANUAL")

    label = read_label(path, IMAGE)

    assert label.names == {1: "Left kidney", 2: "liver", 3: "spleen"}
    np.testing.assert_array_equal(label.array, np.select([marks == 2, marks == 5], [1, 2], 0))
    seg = pydicom.dcmread(path)
    assert seg.ReferencedSeriesSequence[0].SeriesInstanceUID == series[0].SeriesInstanceUID
    assert str(seg.ContentCreatorName) == "Eve x^"


def test_highdicom_finds_each_slice_s_marks_under_its_own_instance(marks: NDArray[np.uint8], tmp_path: Path) -> None:
    series = make_series(asymmetric(), oblique_affine())
    path = tmp_path / "a.dcm"
    write_seg(Volume(marks, IMAGE.affine), NAMES, list(series), path, label_id="x", author="E", origin="MANUAL")

    found = highdicom.seg.segread(path).get_pixels_by_source_instance(
        [instance.SOPInstanceUID for instance in series], combine_segments=True, ignore_spatial_locations=True
    )

    descending = np.select([marks == 2, marks == 5], [1, 2], 0)[:, :, ::-1]
    np.testing.assert_array_equal(found, descending.T)


def test_a_labelmap_seg_is_read_too(marks: NDArray[np.uint8], tmp_path: Path) -> None:
    series = make_series(asymmetric(), oblique_affine())
    path = tmp_path / "binary.dcm"
    write_seg(Volume(marks, IMAGE.affine), NAMES, list(series), path, label_id="x", author="E", origin="MANUAL")
    binary = highdicom.seg.segread(path)
    highdicom.seg.Segmentation(
        source_images=list(series),
        pixel_array=np.ascontiguousarray(np.select([marks == 2, marks == 5], [1, 2], 0)[:, :, ::-1].T.astype("u1")),
        segmentation_type="LABELMAP",
        segment_descriptions=[binary.get_segment_description(number) for number in (1, 2, 3)],
        series_instance_uid=pydicom.uid.generate_uid(),
        series_number=1,
        sop_instance_uid=pydicom.uid.generate_uid(),
        instance_number=1,
        manufacturer="x",
        manufacturer_model_name="x",
        software_versions="1",
        device_serial_number="1",
    ).save_as(tmp_path / "map.dcm")

    one, other = read_label(path, IMAGE), read_label(tmp_path / "map.dcm", IMAGE)

    np.testing.assert_array_equal(one.array, other.array)
    assert one.names == other.names


@pytest.mark.parametrize(("origin", "automatic"), [("MANUAL", False), ("SEMIAUTOMATIC", False), ("AUTOMATIC", True)])
def test_the_origin_is_kept(origin: Origin, automatic: bool, marks: NDArray[np.uint8], tmp_path: Path) -> None:
    series = make_series(asymmetric(), oblique_affine())
    path = tmp_path / "a.dcm"
    write_seg(Volume(marks, IMAGE.affine), NAMES, list(series), path, label_id="x", author="E", origin=origin)

    assert read_label(path, IMAGE).automatic is automatic


def test_writing_again_makes_the_same_series(marks: NDArray[np.uint8], tmp_path: Path) -> None:
    series = list(make_series(asymmetric(), oblique_affine()))
    volume = Volume(marks, IMAGE.affine)
    for name in ("a", "b"):
        write_seg(volume, NAMES, series, tmp_path / name, label_id="x", author="E", origin="MANUAL")

    one, other = (pydicom.dcmread(tmp_path / name) for name in ("a", "b"))
    assert (one.SeriesInstanceUID, one.SOPInstanceUID) == (other.SeriesInstanceUID, other.SOPInstanceUID)


def test_an_empty_seg_says_that_nothing_is_there(tmp_path: Path) -> None:
    series = list(make_series(asymmetric(), oblique_affine()))
    empty = Volume(np.zeros(SHAPE, np.uint8), IMAGE.affine)
    write_seg(empty, NAMES, series, tmp_path / "a.dcm", label_id="x", author="E", origin="MANUAL")

    label = read_label(tmp_path / "a.dcm", IMAGE)

    assert not label.array.any()
    assert set(label.names.values()) == set(NAMES.values())


def test_a_seg_of_another_grid_does_not_fit(marks: NDArray[np.uint8], tmp_path: Path) -> None:
    series = list(make_series(asymmetric(), oblique_affine()))
    write_seg(Volume(marks, IMAGE.affine), NAMES, series, tmp_path / "a.dcm", label_id="x", author="E", origin="MANUAL")

    with pytest.raises(MismatchError):
        read_label(tmp_path / "a.dcm", Geometry(SHAPE, oblique_affine((1, 1, 1))))


def test_a_label_off_the_series_is_not_written(marks: NDArray[np.uint8], tmp_path: Path) -> None:
    series = list(make_series(asymmetric(), oblique_affine()))

    with pytest.raises(MismatchError):
        write_seg(
            Volume(marks, np.eye(4)), NAMES, series, tmp_path / "a.dcm", label_id="x", author="E", origin="MANUAL"
        )
    assert not (tmp_path / "a.dcm").exists()


def test_formats_are_told_by_their_first_bytes(marks: NDArray[np.uint8], tmp_path: Path) -> None:
    volume = Volume(marks, IMAGE.affine)
    series = list(make_series(asymmetric(), oblique_affine()))
    for name in ("a.nii", "a.nii.gz"):
        write_nifti(volume, tmp_path / name)
    (tmp_path / "a.nrrd").write_bytes(to_nrrd(volume))
    write_seg(volume, NAMES, series, tmp_path / "a.dcm", label_id="x", author="E", origin="MANUAL")

    for ending in (".nii", ".nii.gz", ".nrrd", ".dcm"):
        assert ending_of((tmp_path / f"a{ending}").read_bytes()) == ending
    assert ending_of(b"MZ") is None


def test_a_dicom_file_that_is_no_seg_is_refused(tmp_path: Path) -> None:
    make_series(asymmetric(), oblique_affine())[0].save_as(tmp_path / "a.dcm")

    with pytest.raises(InvalidRequestError):
        read_label(tmp_path / "a.dcm", IMAGE)


def test_seg_on_a_multi_frame_image(marks: NDArray[np.uint8], tmp_path: Path) -> None:
    uids = [pydicom.uid.generate_uid() for _ in range(2)]
    source = highdicom.legacy.LegacyConvertedEnhancedCTImage(
        make_series(asymmetric(), oblique_affine()), uids[0], 1, uids[1], 1
    )
    path = tmp_path / "a.dcm"
    write_seg(Volume(marks, IMAGE.affine), NAMES, [source], path, label_id="x", author="E", origin="MANUAL")

    np.testing.assert_array_equal(read_label(path, IMAGE).array, np.select([marks == 2, marks == 5], [1, 2], 0))


def test_a_marked_value_without_a_name_is_kept_under_its_number(marks: NDArray[np.uint8], tmp_path: Path) -> None:
    series = make_series(asymmetric(), oblique_affine())
    path = tmp_path / "a.dcm"
    write_seg(Volume(marks, IMAGE.affine), {2: "kidney"}, series, path, label_id="x", author="E", origin="MANUAL")

    assert read_label(path, IMAGE).names == {1: "kidney", 2: "value 5"}

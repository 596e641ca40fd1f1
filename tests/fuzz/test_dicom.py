"""DICOM series and SEGs whose elements lie."""

from functools import cache
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.uid import JPEG2000Lossless, JPEGLSLossless, RLELossless

from configs.errors import InvalidRequestError
from infra.adapters.images.part10 import read_dicom
from infra.adapters.images.seg import describe_seg, referenced_series
from infra.adapters.images.seg import read_seg as read_to_store
from tasks.images.dicom import read_series, volume_from
from tasks.images.encapsulated import size_of
from tasks.images.geometry import Geometry
from tasks.images.verdict import volume_of
from tasks.images.volume import Volume
from tasks.labels.forms.write import write_seg
from tasks.labels.incoming.check import check_label, check_readable
from tasks.labels.incoming.names import Names
from tests.dicom_series import SHAPE, as_multi_frame, asymmetric, make_series, oblique_affine
from tests.fuzz.damage import MOST_BYTES, damaged, fuzz, in_bounds

pytestmark = pytest.mark.filterwarnings("ignore")
IMAGE = Geometry(SHAPE, oblique_affine())
PLAIN = ("native", "frames")
KINDS = (*PLAIN, RLELossless, JPEG2000Lossless, JPEGLSLossless)


@cache
def _series(kind: str) -> tuple[bytes, ...]:
    """Return good instances; a JPEG 2000 encoder wants more than a few pixels."""
    shape = SHAPE if kind in PLAIN else (40, 36, 3)
    series = make_series(asymmetric(shape), oblique_affine(), series_uid="1.2.3")
    if kind == "frames":
        return (_encoded(as_multi_frame(series)),)
    for instance in series:
        if kind not in PLAIN:
            instance.compress(kind)
    return tuple(map(_encoded, series))


@cache
def _seg() -> bytes:
    array = np.zeros(SHAPE, np.uint8)
    array[1:4, 2:5, 1:3], array[5, 1, 4] = 1, 2
    volume, target = Volume(array, IMAGE.affine), BytesIO()
    series = make_series(asymmetric(), oblique_affine(), series_uid="1.2.3")
    write_seg(volume, {1: "a", 2: "b"}, series, target, label_id="x", author="E", origin="MANUAL")  # type: ignore[arg-type]  # pydicom writes to it as well
    return target.getvalue()


def _encoded(instance: Dataset) -> bytes:
    with BytesIO() as buffer:
        instance.save_as(buffer, enforce_file_format=True)
        return buffer.getvalue()


@fuzz(60)
@given(data=st.data(), kind=st.sampled_from(KINDS))
def test_a_series_with_a_damaged_instance(data: st.DataObject, kind: str, tmp_path: Path) -> None:
    good, *others = _series(kind)
    content = data.draw(damaged(good, header=len(good) - 80))
    for number, instance in enumerate([content, *others]):
        (tmp_path / f"{number}.dcm").write_bytes(instance)

    in_bounds(lambda: read_series(tmp_path, "resample", most_bytes=MOST_BYTES))
    for path in tmp_path.iterdir():
        path.unlink()


_VALUES = st.one_of(
    st.none(),
    st.integers(-1, 2**16 - 1),
    st.sampled_from([1e30, -1e30, 0, "", "nan", "inf", "x", "1\\2\\3"]),
    st.lists(st.sampled_from([0.0, 1.0, -1.0, 1e-30, 1e30, 7.5]), max_size=6),
)
_KEYWORDS = (
    "Rows",
    "Columns",
    "BitsAllocated",
    "BitsStored",
    "SamplesPerPixel",
    "PixelRepresentation",
    "NumberOfFrames",
    "PixelSpacing",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "RescaleSlope",
    "RescaleIntercept",
    "PixelPaddingValue",
    "ImageType",
    "InstanceNumber",
)


@fuzz(60)
@given(changes=st.dictionaries(st.sampled_from(_KEYWORDS), _VALUES, min_size=1, max_size=4), everywhere=st.booleans())
def test_a_series_whose_elements_have_other_values(changes: dict[str, object], everywhere: bool) -> None:
    series = make_series(asymmetric(), oblique_affine())
    for instance in series if everywhere else series[2:3]:
        for name, value in changes.items():
            try:
                setattr(instance, name, value)
            except (ValueError, TypeError, OverflowError):
                return  # pydicom refuses to make such an element

    in_bounds(lambda: volume_of(series))
    in_bounds(lambda: volume_from(series, "resample", MOST_BYTES))


@fuzz(40)
@given(content=damaged(_seg(), header=len(_seg()) - 60))
def test_a_damaged_seg(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "label.dcm"
    path.write_bytes(content)

    in_bounds(lambda: check_label(IMAGE, path, Names({1: "a", 2: "b"})))
    in_bounds(lambda: check_readable(path, MOST_BYTES))
    in_bounds(lambda: read_to_store(path))


@fuzz(30)
@given(content=damaged(_seg(), header=len(_seg()) - 60))
def test_what_a_store_tells_of_a_damaged_seg(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "label.dcm"
    path.write_bytes(content)
    try:
        seg = read_dicom(path)
    except InvalidRequestError:
        return
    in_bounds(lambda: referenced_series([seg]) and describe_seg("1.2.3", [seg]))


@fuzz(100)
@given(frame=st.one_of(st.binary(max_size=60), st.binary(max_size=60).map(lambda rest: b"\xff\xd8\xff" + rest)))
def test_a_compressed_frame_s_size(frame: bytes) -> None:
    in_bounds(lambda: size_of(frame))

"""A series that is no volume is told from one by its headers, with what it is instead."""

from collections.abc import Callable

import pytest
from pydicom.dataset import Dataset, FileDataset

from configs.errors import NoVolumeError
from tasks.images.verdict import volume_of
from tests.dicom_series import SHAPE, as_multi_frame, asymmetric, make_series, oblique_affine

Series = list[FileDataset]


def _set(**values: object) -> Callable[[Series], Series]:
    """Return what gives every instance these values; None takes one away."""

    def spoil(series: Series) -> Series:
        for instance in series:
            for name, value in values.items():
                if value is None:
                    delattr(instance, name)
                else:
                    setattr(instance, name, value)
        return series

    return spoil


def _report(series: Series) -> list[Dataset]:
    report = Dataset()
    report.Modality, report.SOPClassUID, report.PatientID = "SR", "1.2.840.10008.5.1.4.1.1.88.33", series[0].PatientID
    return [report]


@pytest.mark.parametrize(
    ("spoil", "kind"),
    [
        (_set(ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]), "localizer"),
        (_set(ImageType=["DERIVED", "PRIMARY", "SCOUT", "CT_SOM5 TOP"]), "localizer"),
        (_set(SOPClassUID="1.2.840.10008.5.1.4.1.1.7"), "secondary capture"),
        (_set(SOPClassUID="1.2.840.10008.5.1.4.1.1.7.4", ImagePositionPatient=None), "secondary capture"),
        (_set(SamplesPerPixel=3, PhotometricInterpretation="RGB", ImagePositionPatient=None), "colour"),
        (_set(PhotometricInterpretation="PALETTE COLOR"), "colour"),
        (_set(ImagePositionPatient=None), "no position"),
        (_set(PixelSpacing=None), "no position"),
        (lambda series: series[:1], "single slice"),
        (lambda series: [*series, *series], "4-D"),
        (lambda series: [series[0], series[0], series[0]], "4-D"),
        (_report, "no image"),
        (lambda series: [as_multi_frame([*series, *series], times=[1] * 5 + [2] * 5)], "4-D"),
        (lambda series: series[:2] + series[3:], "irregular"),
    ],
)
def test_what_is_no_volume_is_named(spoil: Callable[[Series], list[Dataset]], kind: str) -> None:
    series = make_series(asymmetric(), oblique_affine(), patient="Mueller")

    with pytest.raises(NoVolumeError) as caught:
        volume_of(spoil(series))

    assert caught.value.kind == kind
    told = str(caught.value)
    assert told.startswith(f"{kind}: ")
    assert "Mueller" not in told
    assert "1.2." not in told


def test_reformatted_slices_are_a_volume_like_any_other() -> None:
    series = _set(ImageType=["DERIVED", "SECONDARY", "MPR"])(make_series(asymmetric(), oblique_affine()))

    assert len(volume_of(series).slices) == SHAPE[2]


def test_stacks_in_other_directions_are_not_one_volume() -> None:
    other = oblique_affine()
    other[:3, :3] = other[:3, [1, 0, 2]] * [1, 1, -1]
    series = [
        as_multi_frame(make_series(asymmetric((6, 6, 3)), oblique_affine(), series_uid="1.2.3"), stacks=["1"] * 3),
        as_multi_frame(make_series(asymmetric((6, 6, 3)), other, series_uid="1.2.3"), stacks=["2"] * 3),
    ]

    with pytest.raises(NoVolumeError, match="several stacks: slices 1 frame 1 and 1 frame 1 differ"):
        volume_of(series)


def test_a_scout_among_the_slices_that_it_planned_is_left_out() -> None:
    series = make_series(asymmetric(), oblique_affine())
    [scout] = make_series(asymmetric((9, 9, 1)), oblique_affine())
    scout.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]

    assert len(volume_of([scout, *series]).slices) == SHAPE[2]

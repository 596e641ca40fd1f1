"""Whether a series that is sent is one of a data set's, by its headers, as QIDO's filters are read."""

from pathlib import Path

import pytest

from configs.errors import InvalidRequestError
from infra.adapters.images.sent_series import sent_series
from tests.dicom_series import asymmetric, make_series, oblique_affine, save_series

_WITHIN: tuple[dict[str, str], ...] = (
    {},
    {"PatientID": "ann?", "Modality": "MR\\CT", "StudyDate": "20260101-", "limit": "9", "ModalitiesInStudy": "XA"},
    {"00100020": "AN*", "StudyDate": "20260130-20260201", "StudyTime": "-1200", "StationName": "*"},
)
_OUTSIDE: tuple[dict[str, str], ...] = (
    {"PatientID": "ann"},
    {"00100020": "anna\\x", "Modality": "MR"},
    {"StudyDate": "-20251231"},
    {"SeriesInstanceUID": "1.2.3,1.2.4"},
    {"StationName": "CT1"},
)


@pytest.mark.parametrize(
    ("filters", "within"), [*((one, True) for one in _WITHIN), *((one, False) for one in _OUTSIDE)]
)
def test_filters_are_decided_by_the_headers(filters: dict[str, str], *, within: bool, tmp_path: Path) -> None:
    series = make_series(asymmetric(), oblique_affine(), patient="anna")
    for instance in series:
        instance.StudyDate, instance.StudyTime = "20260131", "101500.25"
    folder, key = save_series(series, tmp_path / "series"), str(series[0].SeriesInstanceUID)
    if within:
        sent = sent_series(folder, key, filters)
        assert (sent.study, len(sent.files)) == (series[0].StudyInstanceUID, len(series))
    else:
        with pytest.raises(InvalidRequestError, match="filters leave this series out"):
            sent_series(folder, key, filters)

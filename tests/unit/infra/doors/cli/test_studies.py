"""What `--studies`, `--round-size` and `--conf` may say."""

from pathlib import Path

import pytest

from configs.errors import InvalidRequestError, NotFoundError
from infra.doors.cli.studies import place_of, round_size_of


def test_a_folder_becomes_absolute_and_an_address_stays(tmp_path: Path) -> None:
    assert place_of(str(tmp_path)) == str(tmp_path.resolve())
    assert place_of("http://here/dicom-web") == "http://here/dicom-web"
    with pytest.raises(NotFoundError):
        place_of(str(tmp_path / "missing"))


def test_a_round_size_is_a_number_or_off() -> None:
    assert round_size_of("7") == 7
    assert round_size_of("off") is None
    for wrong in ("0", "-1", "x", "1.5"):
        with pytest.raises(InvalidRequestError, match="--round-size"):
            round_size_of(wrong)

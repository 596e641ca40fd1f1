"""`teachback sample` writes to a folder or a DICOMweb server."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from configs.errors import ConflictError, StoreError
from infra.doors.cli.sample import app


def sample(*words: str) -> None:
    CliRunner().invoke(app, list(words), catch_exceptions=False, standalone_mode=False)


def test_images_and_truth_are_apart(tmp_path: Path) -> None:
    sample(str(tmp_path / "images"), "--count", "1", "--truth", str(tmp_path / "truth"))
    assert [path.name for path in (tmp_path / "images").rglob("*.nii.gz")] == ["t1.nii.gz"]
    assert [path.name for path in (tmp_path / "truth").rglob("*.nii.gz")] == ["t1.nii.gz"]


def test_a_series_can_be_written_to_a_folder(tmp_path: Path) -> None:
    sample(str(tmp_path), "--count", "1", "--form", "dicom")
    assert len(list(tmp_path.rglob("*.dcm"))) > 30


def test_what_exists_is_not_written_over(tmp_path: Path) -> None:
    sample(str(tmp_path), "--count", "1")
    with pytest.raises(ConflictError):
        sample(str(tmp_path), "--count", "1")


def test_a_server_that_does_not_answer_is_named() -> None:
    with pytest.raises(StoreError, match=r"127\.0\.0\.1:1"):
        sample("http://127.0.0.1:1/dicom-web", "--count", "1")

"""A zipped DICOM series is unpacked within bounds that it is held to before a byte of it is written."""

import zipfile
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path

import pytest

from configs.errors import InvalidRequestError
from tasks.images.zipped import MOST_FILES, unzip_series

DICOM = bytes(128) + b"DICM" + b"pixels"


def _zip(folder: Path, members: Mapping[str, bytes]) -> Path:
    path = folder / "series.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def _unpacked(path: Path, folder: Path, most_bytes: int = 10_000) -> dict[str, bytes]:
    into = folder / "into"
    into.mkdir()
    unzip_series(path, into, most_bytes)
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*.dcm")}


def test_instances_are_taken_wherever_they_lie_and_nothing_else(tmp_path: Path) -> None:
    members = {
        "a/IM0001": DICOM,
        "../../climbs.dcm": DICOM,
        "/etc/rooted": DICOM,
        "read me.txt": b"no DICOM",
        "a/b/": b"",
    }
    assert _unpacked(_zip(tmp_path, members), tmp_path) == {f"into/{n:06d}.dcm": DICOM for n in range(3)}
    assert not (tmp_path.parent / "climbs.dcm").exists()


def test_what_would_become_too_large_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    path = _zip(tmp_path, {"a": DICOM, "b": DICOM + bytes(20_000)})
    with pytest.raises(InvalidRequestError, match="would become 2"):
        _unpacked(path, tmp_path)
    assert [*(tmp_path / "into").iterdir()] == []


def test_a_member_that_is_larger_than_it_says_is_damaged(tmp_path: Path) -> None:
    path = _zip(tmp_path, {"a": DICOM + bytes(20_000)})
    content = path.read_bytes().replace((len(DICOM) + 20_000).to_bytes(4, "little"), (200).to_bytes(4, "little"))
    path.write_bytes(content)
    with pytest.raises(InvalidRequestError, match="zip is damaged"):
        _unpacked(path, tmp_path)


def test_too_many_files_no_dicom_and_no_zip_are_refused(tmp_path: Path) -> None:
    many = BytesIO()
    with zipfile.ZipFile(many, "w") as archive:
        for number in range(MOST_FILES + 1):
            archive.writestr(str(number), b"")
    cases = {"20001 files": many.getvalue(), "no DICOM": _zip(tmp_path, {"a": b"text"}).read_bytes(), "damaged": b"PK"}
    for number, (said, content) in enumerate(cases.items()):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "a.zip").write_bytes(content)
        with pytest.raises(InvalidRequestError, match=said):
            _unpacked(folder / "a.zip", folder)

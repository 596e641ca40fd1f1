"""A zipped DICOM series is unpacked within bounds that it is held to before a byte of it is written."""

import traceback
import zipfile
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path

import pytest

from configs.errors import InvalidRequestError
from tasks.images.zipped import MOST_FILES, unzip_series
from tests.dicom_series import asymmetric, make_series, oblique_affine


def _instance(**changed: str) -> bytes:
    [made] = make_series(asymmetric((2, 2, 1)), oblique_affine(), series_uid="1.2.3")
    for name, value in changed.items():
        setattr(made, name, value)
    with BytesIO() as buffer:
        made.save_as(buffer, enforce_file_format=True)
        return buffer.getvalue()


DICOM = _instance()


def _zip(folder: Path, members: Mapping[str, bytes]) -> Path:
    path = folder / "series.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def _unpacked(path: Path, folder: Path, most_bytes: int = 20_000) -> dict[str, bytes]:
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
        "DICOMDIR": _instance(SeriesInstanceUID=""),
        "a/report": _instance(SeriesInstanceUID="1.2.4", Modality="SR"),
        "a/marks": _instance(SeriesInstanceUID="1.2.5", Modality="SEG"),
        "a/damaged": DICOM[:132] + b"pixels",
        "a/b/": b"",
    }
    assert _unpacked(_zip(tmp_path, members), tmp_path) == {f"into/{n:06d}.dcm": DICOM for n in range(3)}
    assert not (tmp_path.parent / "climbs.dcm").exists()


def test_what_would_become_too_large_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    path = _zip(tmp_path, {"a": DICOM, "b": DICOM + bytes(30_000)})
    with pytest.raises(InvalidRequestError, match="would become 3"):
        _unpacked(path, tmp_path)
    assert [*(tmp_path / "into").iterdir()] == []


def test_a_member_that_is_larger_than_it_says_is_damaged(tmp_path: Path) -> None:
    path = _zip(tmp_path, {"a": DICOM + bytes(30_000)})
    content = path.read_bytes().replace((len(DICOM) + 30_000).to_bytes(4, "little"), (200).to_bytes(4, "little"))
    path.write_bytes(content)
    with pytest.raises(InvalidRequestError, match="zip is damaged"):
        _unpacked(path, tmp_path)


def test_too_many_members_no_series_or_several_and_no_zip_are_refused(tmp_path: Path) -> None:
    many, folders = BytesIO(), BytesIO()
    for buffer, name in ((many, "{}"), (folders, "{}/")):
        with zipfile.ZipFile(buffer, "w") as archive:
            for number in range(MOST_FILES + 1):
                archive.writestr(name.format(number), b"")
    announced = many.getvalue()
    end = announced.rindex(b"PK\5\6")
    # A list of 2 GB, which is not there, and whose number of entries is a lie: nobody may try to read it.
    lying = announced[: end + 8] + bytes(4) + (2**31).to_bytes(4, "little") + announced[end + 16 :]
    cases = {
        "20001 files": many.getvalue(),
        "20001 files and folders": folders.getvalue(),
        "4194304 files": lying,
        "no DICOM series": _zip(tmp_path, {"a": b"text"}).read_bytes(),
        "2 DICOM series": _zip(tmp_path, {"a": DICOM, "b": _instance(SeriesInstanceUID="1.2.4")}).read_bytes(),
        "damaged": b"PK",
    }
    for number, (said, content) in enumerate(cases.items()):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "a.zip").write_bytes(content)
        with pytest.raises(InvalidRequestError, match=said):
            _unpacked(folder / "a.zip", folder)


def test_what_is_said_of_a_damaged_zip_names_no_member(tmp_path: Path) -> None:
    path = _zip(tmp_path, {"Doe^Jane/IM1": DICOM})
    content = path.read_bytes()
    path.write_bytes(content.replace(b"Doe^Jane", b"Roe^Jane", 1))  # in one of the two places

    with pytest.raises(InvalidRequestError, match="zip is damaged") as caught:
        _unpacked(path, tmp_path)

    assert "Jane" not in "".join(traceback.format_exception(caught.value))

"""What is written is whole and durable; syncing leaves nothing open, and says when there is nothing to sync."""

from pathlib import Path

import pytest
from psutil import Process

from configs.durable import sync_file, sync_folder, written


def test_files_and_folders_are_synced_and_closed_again(tmp_path: Path) -> None:
    (tmp_path / "written").write_bytes(b"bytes")
    before = Process().num_fds()

    sync_file(tmp_path / "written")
    sync_folder(tmp_path)

    assert Process().num_fds() == before


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "written").write_bytes(b"bytes")

    with pytest.raises(NotADirectoryError):
        sync_folder(tmp_path / "written")


def test_what_is_not_there_cannot_be_synced(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        sync_file(tmp_path / "missing")


def test_a_file_is_written_whole_and_takes_the_place_of_another(tmp_path: Path) -> None:
    path = tmp_path / "note"
    path.write_bytes(b"before")

    with written(path, mode=0o600) as file:
        file.write(b"after")
        file.flush()
        assert path.read_bytes() == b"before"

    assert path.read_bytes() == b"after"
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_what_fails_while_it_is_written_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "note"
    path.write_bytes(b"before")

    with pytest.raises(TypeError), written(path) as file:
        file.writelines([b"half of it", "no bytes"])  # type: ignore[list-item]  # what fails

    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]

"""Syncing leaves nothing open, and says when there is nothing to sync."""

from pathlib import Path

import pytest
from psutil import Process

from configs.durable import sync_file, sync_folder


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

"""The folder of preprocessed images stays within bounds."""

import os
from pathlib import Path

from infra.adapters.cache.trim import trim


def _file(path: Path, size: int, used: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(size))
    os.utime(path, (used, used))
    return path


def test_what_was_used_longest_ago_goes_first(tmp_path: Path) -> None:
    old = _file(tmp_path / "tensor" / "aa" / "old", 60, used=1)
    new = _file(tmp_path / "tensor" / "bb" / "new", 60, used=2)

    assert trim(tmp_path, 100) == 60
    assert (old.exists(), new.exists()) == (False, True)


def test_what_a_link_leads_to_is_neither_counted_nor_removed(tmp_path: Path) -> None:
    outside = _file(tmp_path / "outside", 1000, used=1)
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / "link").symlink_to(outside)

    trim(inside, 0)

    assert outside.exists()
    assert not (inside / "link").is_symlink()

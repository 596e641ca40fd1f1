"""One `up` per home."""

import os
from pathlib import Path

import pytest

from configs.errors import ConflictError
from infra.doors.cli.supervisor.lock import holder, lock_home


def test_a_second_up_on_the_same_home_is_refused_naming_the_first(tmp_path: Path) -> None:
    home = tmp_path / "home"
    lock = lock_home(home)
    assert holder(home) == os.getpid()
    with pytest.raises(ConflictError, match=str(os.getpid())):
        lock_home(home)
    os.close(lock)
    assert holder(home) is None
    os.close(lock_home(home))


def test_the_home_is_its_owners_alone(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir(mode=0o755)
    os.close(lock_home(tmp_path / "home"))
    assert (tmp_path / "home").stat().st_mode & 0o777 == 0o700

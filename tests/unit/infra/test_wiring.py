"""Opening the adapters of a process."""

import stat
from pathlib import Path

from configs.settings import Settings
from infra.wiring import open_parts


def test_the_home_folder_is_its_owners_alone_also_where_it_was_there_before(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o755)
    open_parts(Settings(home=home)).close()
    assert stat.S_IMODE(home.stat().st_mode) == 0o700

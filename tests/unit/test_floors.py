"""No version with a known weakness is installed, asked for or pinned: `.ci/floors.toml` says which and why."""

import tomllib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parents[2]
FLOORS: dict[str, dict[str, str]] = tomllib.loads((ROOT / ".ci" / "floors.toml").read_text())
ASKED = {
    wanted.name: wanted
    for wanted in map(Requirement, tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"])
}


@pytest.mark.parametrize("package", FLOORS)
def test_what_is_installed_is_not_below_its_floor(package: str) -> None:
    try:
        installed = version(package)
    except PackageNotFoundError:
        pytest.skip(f"{package} is not installed, so it has no weakness here")
    assert Version(installed) >= Version(FLOORS[package]["floor"]), FLOORS[package]["why"]


@pytest.mark.parametrize("package", [name for name in FLOORS if name in ASKED])
def test_what_is_asked_for_excludes_everything_below_the_floor(package: str) -> None:
    floor = Version(FLOORS[package]["floor"])
    lowest = min(Version(each.version) for each in ASKED[package].specifier if each.operator in {">=", "=="})
    assert lowest >= floor, FLOORS[package]["why"]

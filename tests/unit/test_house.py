"""The rules of the house cover the whole house: nothing new slips past them unlisted."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
TOPICS = {folder.name for folder in (ROOT / "tasks").iterdir() if (folder / "__init__.py").is_file()}


def contract(start: str) -> dict[str, list[str]]:
    """The one import contract whose name starts so."""
    (found,) = (c for c in PROJECT["tool"]["importlinter"]["contracts"] if c["name"].startswith(start))
    return dict(found)


def pins() -> dict[str, str]:
    lines = (line.split("#")[0].strip() for line in (ROOT / "constraints.txt").read_text().splitlines())
    return {normal(name): version for name, version in (line.split("==") for line in lines if line)}


def normal(name: str) -> str:
    """A package's name as indexes compare it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def test_every_topic_but_compute_is_held_to_the_rule_against_torch() -> None:
    listed = {name for name in contract("The control side stays light")["source_modules"] if name.startswith("tasks.")}

    assert listed == {f"tasks.{topic}" for topic in TOPICS - {"compute"}}


def test_every_adapter_has_its_place_in_the_layers() -> None:
    layers = contract("Adapters don't know each other")["layers"]
    listed = {name.strip() for layer in layers for name in layer.split("|")}
    folders = {folder.name for folder in (ROOT / "infra" / "adapters").iterdir() if (folder / "__init__.py").is_file()}

    assert folders <= listed


@pytest.mark.parametrize("wanted", [*PROJECT["project"]["dependencies"], *PROJECT["dependency-groups"]["dev"]], ids=str)
def test_every_dependency_has_a_pin_within_its_range(wanted: str) -> None:
    requirement = Requirement(wanted)
    pinned = pins()

    assert normal(requirement.name) in pinned, "write its version into constraints.txt"
    assert pinned[normal(requirement.name)] in requirement.specifier


def test_pins_are_sorted_and_each_package_has_one() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    names = [normal(line.split("==")[0]) for line in lines if not line.startswith("#")]

    assert names == sorted(set(names))

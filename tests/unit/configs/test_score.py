"""Strategies and scoring methods by name, also those of installed packages."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import TypeAdapter, ValidationError

from configs.specs.score import ScoringMethod, Strategy, installed, methods, strategies
from tasks.compute.failures import BadInputError
from tasks.compute.scoring.methods import METHODS, method_named

OURS = {"random", "first", "last", "strided", "entropy", "epistemic", "diversity", "clasp"}


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A package that is installed, with a scoring method, one that takes a name of ours, and one without a name."""
    folder = tmp_path / "brightness-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: brightness\nVersion: 1.0\n")
    (folder / "entry_points.txt").write_text(
        "[teachback.scoring_methods]\nbrightness = brightness:score\n"
        "entropy = brightness:score\nNo! = brightness:score\n"
    )
    (tmp_path / "brightness.py").write_text(
        "from tasks.compute.scoring.subject import Scored\n\n"
        "def score(subject):\n    return Scored(float(subject.image.mean()))\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    installed.cache_clear()
    yield
    sys.modules.pop("brightness", None)
    installed.cache_clear()


def test_every_name_of_ours_is_a_strategy_and_no_other() -> None:
    strategy: TypeAdapter[str] = TypeAdapter(Strategy)
    assert set(strategies()) == OURS
    assert {strategy.validate_python(name) for name in OURS} == OURS
    with pytest.raises(ValidationError, match="no strategy 'dice': choose one of random"):
        strategy.validate_python("dice")
    assert set(strategy.json_schema()["enum"]) == OURS


def test_a_method_of_an_installed_package_is_one_by_name_and_loaded_only_where_it_scores(package: None) -> None:
    del package
    assert set(strategies()) == {*OURS, "brightness"}
    assert methods()["brightness"] == "Of the package brightness"
    assert TypeAdapter(ScoringMethod).validate_python("brightness") == "brightness"
    assert "brightness" not in sys.modules

    assert method_named("brightness").score.__module__ == "brightness"
    assert method_named("entropy") is METHODS["entropy"], "a name of ours is ours"


def test_a_package_that_is_gone_is_said_to_be() -> None:
    with pytest.raises(BadInputError, match="'brightness': install it again"):
        method_named("brightness")

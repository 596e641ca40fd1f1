"""This process's adapters on each database, with runs in memory."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from configs.settings import Settings
from infra.wiring import Parts
from tests.runs_in_memory import RunsInMemory


@pytest.fixture
def runs() -> RunsInMemory:
    """The orchestrator that `parts` talks to."""
    return RunsInMemory()


@pytest.fixture
def parts(catalog_url: str, tmp_path: Path, runs: RunsInMemory) -> Iterator[Parts]:
    """Adapters with an empty catalog, on each database in turn."""
    home = tmp_path / "home"
    home.mkdir()
    opened = Parts(Settings(home=home, catalog_url=catalog_url), orchestrator=runs)
    yield opened
    opened.close()

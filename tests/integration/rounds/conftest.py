"""A ward on each database: rounds whose bundle hosts are in memory."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from configs.settings import Settings
from infra.wiring import Parts
from tests.rounds_in_memory import Ward, build_ward
from tests.runs_in_memory import RunsInMemory
from tests.training_in_memory import TrainingInMemory

TRAIN = ("t1", "t2", "t3", "t4", "t5", "t6")
EVALUATION = ("e1", "e2", "e3")


@pytest.fixture
def ward(catalog_url: str, tmp_path: Path, runs: RunsInMemory) -> Iterator[Ward]:
    """Six patients of the training side and three of the evaluation side, none of them labelled."""
    home = tmp_path / "home"
    home.mkdir()
    hosts = TrainingInMemory()
    parts = Parts(Settings(home=home, catalog_url=catalog_url), orchestrator=runs, hosts=hosts)
    yield build_ward(parts, hosts, tmp_path, train=TRAIN, evaluation=EVALUATION)
    parts.close()

"""A ward whose patients are all labelled, and hosts that train nothing and score by the image's number."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from configs.settings import Settings
from configs.wire.host import HostMessage, HostRequest, ImageScore, ScoreRequest, TrainRequest
from infra.wiring import Parts
from tests.rounds_in_memory import Ward, build_ward
from tests.runs_in_memory import RunsInMemory
from tests.training_in_memory import TrainingInMemory

PATIENTS = tuple(f"p{number:02}" for number in range(12))


@dataclass
class ScoringInMemory(TrainingInMemory):
    """Trains nothing; scores images by their ids, the highest first; a network's Dice is what it was trained on."""

    scored: list[ScoreRequest] = field(default_factory=list)
    dies_at: int | None = None

    def answers(self, request: HostRequest) -> Iterator[HostMessage]:
        """Answer what a simulation asks."""
        if isinstance(request, TrainRequest) and len(self.trained) == self.dies_at:
            raise KeyboardInterrupt
        if isinstance(request, ScoreRequest):
            self.scored.append(request)
            yield from (ImageScore(image=case.id, score=int(case.id) / 100) for case in request.images)
        else:
            yield from super().answers(request)


@pytest.fixture
def hosts() -> ScoringInMemory:
    return ScoringInMemory(score=lambda _version, _case: {"liver": 0.5})


@pytest.fixture
def ward(catalog_url: str, tmp_path: Path, runs: RunsInMemory, hosts: ScoringInMemory) -> Iterator[Ward]:
    """Twelve patients, all labelled."""
    home = tmp_path / "home"
    home.mkdir()
    parts = Parts(Settings(home=home, catalog_url=catalog_url), orchestrator=runs, hosts=hosts)
    made = build_ward(parts, hosts, tmp_path, train=PATIENTS)
    made.label(*PATIENTS)
    yield made
    parts.close()

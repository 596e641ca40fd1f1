"""Bundle hosts in memory, for tests of what we do with their answers rather than of bundles."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from configs.wire.host import (
    CaseResult,
    EvaluateRequest,
    Failed,
    HostCommand,
    HostMessage,
    HostRequest,
    Progress,
    TrainRequest,
    TrainResult,
)
from tests.hosts_in_memory import HostInMemory, HostsInMemory

PerLabel = dict[str, float | None]


@dataclass
class TrainingInMemory(HostsInMemory):
    """Trains nothing and scores as the test says.

    Attributes:
        score: Returns a version's score on a case by label name; both are ids. None = nothing but background.
        meanwhile: Called once while the next evaluation runs.
        asked: What each evaluation asked: version → cases.
        unreadable: Cases that it can neither train on nor score.
    """

    score: Callable[[str, str], PerLabel | None] = lambda _version, _case: {"liver": 0.5}
    meanwhile: Callable[[], None] | None = None
    asked: list[dict[str, list[str]]] = field(default_factory=list)
    trained: list[TrainRequest] = field(default_factory=list)
    unreadable: set[str] = field(default_factory=set)

    def host(self, request: HostRequest, work: Path) -> HostInMemory:
        del work
        return _Host(self, request)

    def answers(self, request: HostRequest) -> Iterator[HostMessage]:
        """Answer a training or an evaluation."""
        if isinstance(request, TrainRequest):
            yield from self._train(request)
        elif isinstance(request, EvaluateRequest):
            yield from self._evaluate(request)

    def _train(self, request: TrainRequest) -> Iterator[HostMessage]:
        self.trained.append(request)
        path = Path(request.out) / "weights.safetensors"
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file({"weight": np.array([len(self.trained)], np.float32)}, path)
        yield Progress(epoch=0, max_epoch=1, step=1, max_step=1)
        left_out = [case.id for case in request.cases if case.id in self.unreadable]
        yield TrainResult(weights=str(path), epoch=1, steps=1, train_s=0.1, left_out=left_out)

    def _evaluate(self, request: EvaluateRequest) -> Iterator[HostMessage]:
        every = [case.id for case in request.cases]
        asked = request.asked if request.asked is not None else dict.fromkeys(request.versions, every)
        self.asked.append(asked)
        happens, self.meanwhile = self.meanwhile, None
        if happens is not None:
            happens()
        for version, cases in asked.items():
            for case in cases:
                if case in self.unreadable:
                    yield Failed(id=case, code="unreadable", message="it cannot be read")
                else:
                    yield _result(version, case, self.score(version, case))


class _Host(HostInMemory):
    """One host of `TrainingInMemory`."""

    def __init__(self, hosts: TrainingInMemory, request: HostRequest) -> None:
        self._hosts, self._request = hosts, request

    def messages(self) -> Iterator[HostMessage]:
        yield from self._hosts.answers(self._request)

    def send(self, command: HostCommand) -> None: ...

    def stop(self) -> None: ...

    def kill(self) -> None: ...


def _result(version: str, case: str, score: PerLabel | None) -> CaseResult:
    per_label: PerLabel = {"liver": 0.0} if score is None else score
    found = [value for value in per_label.values() if value is not None]
    mean = sum(found) / len(found) if found else None
    return CaseResult(
        case=case, version=version, per_label=per_label, mean=mean, empty=score is None, finite=True, metric="mean_dice"
    )

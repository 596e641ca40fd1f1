"""A training that is paused, killed and taken up again ends as if nothing had happened."""

import os
import signal
from pathlib import Path

import pytest

from configs.errors import HostDiedError
from configs.specs.train import TrainSpec
from configs.wire.host import (
    Case,
    Checkpoint,
    CheckpointAndExit,
    EvaluateRequest,
    Failed,
    HostMessage,
    Metric,
    Progress,
    Ready,
    TrainRequest,
    TrainResult,
)
from infra.adapters.compute.process import ProcessHosts
from tests.integration.compute.conftest import LABELS, SAMPLE

pytestmark = pytest.mark.slow
EPOCHS = 10


def request(folder: Path, cases: list[Case], name: str, **changed: object) -> TrainRequest:
    """Return a short training."""
    request = TrainRequest(
        bundle=str(SAMPLE),
        cases=[case for case in cases if case.side != "evaluate"],
        labels=LABELS,
        spec=TrainSpec(epochs=EPOCHS, val_interval=5, overrides={"train#dataloader#batch_size": 2}),
        out=str(folder / name / "out"),
        cache=str(folder / "cache"),
    )
    return request.model_copy(update=changed)


def test_paused_killed_and_resumed_training_learns(hosts: ProcessHosts, folder: Path, cases: list[Case]) -> None:
    with hosts.start(request(folder, cases, "one"), work=folder / "one", bundle=SAMPLE, threads=1) as host:
        paused: list[HostMessage] = []
        for message in host.messages():
            paused.append(message)
            if isinstance(message, Progress):
                host.send(CheckpointAndExit())
    assert isinstance(paused[0], Ready)
    first = next(message for message in reversed(paused) if isinstance(message, Checkpoint))
    assert not any(isinstance(message, TrainResult) for message in paused)

    again = request(folder, cases, "two", resume=first.path)
    with hosts.start(again, work=folder / "two", bundle=SAMPLE, threads=1) as host:
        until_death = host.messages()
        saved = [next(message for message in until_death if isinstance(message, Checkpoint)) for _ in range(2)]
        os.kill(host.pid, signal.SIGKILL)
        with pytest.raises(HostDiedError, match="ended with status"):
            list(until_death)
    assert saved[0].epoch == first.epoch + 1

    last = request(folder, cases, "three", resume=saved[-1].path)
    with hosts.start(last, work=folder / "three", bundle=SAMPLE, threads=1) as host:
        messages = list(host.messages())
    steps = [message for message in messages if isinstance(message, Progress)]
    assert steps[0].epoch == saved[-1].epoch
    (result,) = (message for message in messages if isinstance(message, TrainResult))
    assert result.epoch == EPOCHS
    assert result.head_rebuilt
    assert result.best is not None
    assert result.val_at_start is not None
    assert result.best > result.val_at_start + 0.1
    names = {message.label for message in messages if isinstance(message, Metric)}
    assert {"shell", "core", ""} <= names
    losses = [message for message in messages if isinstance(message, Metric) and message.name == "train_loss"]
    assert [loss.step for loss in losses] == [step.step for step in steps]
    _evaluate(hosts, folder, cases, result)


def _evaluate(hosts: ProcessHosts, folder: Path, cases: list[Case], result: TrainResult) -> None:
    """The trained version beats the untrained one on cases that it has not seen, label by label as drawn."""
    unseen = [case for case in cases if case.side == "evaluate"]
    unseen[1] = unseen[1].model_copy(update={"annotated": ["shell"]})
    request = EvaluateRequest(
        bundle=str(SAMPLE), cases=unseen, labels=LABELS, versions={"untrained": "", "trained": result.weights}
    )
    with hosts.start(request, work=folder / "evaluate", bundle=SAMPLE, threads=1) as host:
        found = {(m.version, m.case): m for m in host.messages() if m.kind == "case"}
    assert len(found) == 4
    for case in unseen:
        before, after = found["untrained", case.id], found["trained", case.id]
        assert before.mean is not None
        assert after.mean is not None
        assert after.mean > before.mean
        assert after.finite
        assert not after.empty
        assert set(after.per_label) == set(case.annotated or LABELS.values())


def test_a_training_that_cannot_work_says_why(hosts: ProcessHosts, folder: Path, cases: list[Case]) -> None:
    spec = TrainSpec(epochs=1, overrides={"loss": {"_target_": "os.system"}})
    with hosts.start(request(folder, cases, "bad", spec=spec), work=folder / "bad", bundle=SAMPLE) as host:
        *_, failed = host.messages()
    assert isinstance(failed, Failed)
    assert failed.code == "bad_input"
    assert "loss" in failed.message

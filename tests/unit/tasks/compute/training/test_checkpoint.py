"""Checkpoints are whole, few, and read without running code."""

import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LinearLR, ReduceLROnPlateau, SequentialLR, StepLR

from tasks.compute.failures import BadInputError
from tasks.compute.training.checkpoint import TrainingState, load, save, take_up, write_weights


def state(epoch: int) -> TrainingState:
    return TrainingState(
        epoch=epoch, steps=epoch * 2, seconds=1.5, network={"w": torch.ones(2)}, optimizer={"state": {}}, best=0.5
    )


def test_a_checkpoint_comes_back_and_only_the_newest_three_are_kept(tmp_path: Path) -> None:
    paths = [save(state(epoch), tmp_path) for epoch in range(1, 13)]
    assert sorted(int(path.stem) for path in tmp_path.iterdir()) == [10, 11, 12]
    found = load(paths[-1])
    assert (found.epoch, found.steps, found.best) == (12, 24, 0.5)
    assert found.network["w"].tolist() == [1, 1]


class Evil:
    """Makes a folder when it is unpickled."""

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, ("evil",)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", pickle.dumps(Evil()), pickle.dumps({"format": 1})])
def test_what_is_no_checkpoint_is_refused_and_not_run(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "1.ckpt").write_bytes(content)
    with pytest.raises(BadInputError):
        load(tmp_path / "1.ckpt")
    assert not Path("evil").exists()


def test_weights_are_written_whole_even_if_tensors_are_views(tmp_path: Path) -> None:
    path = write_weights({"w": torch.arange(6.0).reshape(2, 3).T}, tmp_path / "weights.safetensors")
    assert [found.name for found in tmp_path.iterdir()] == ["weights.safetensors"]
    assert path.stat().st_size > 24


def _trained(rate: float, kind: str) -> tuple[torch.nn.Module, Optimizer, Any]:
    network = torch.nn.Linear(1, 1)
    optimizer = torch.optim.SGD(network.parameters(), lr=rate)
    schedules: dict[str, Any] = {
        "steps": lambda: StepLR(optimizer, 1, gamma=0.5),
        "none": lambda: None,
        "chain": lambda: SequentialLR(optimizer, [LinearLR(optimizer, 0.5), StepLR(optimizer, 1, gamma=0.5)], [2]),
        "plateau": lambda: ReduceLROnPlateau(optimizer, factor=0.5, patience=0),
    }
    return network, optimizer, schedules[kind]()


@pytest.mark.parametrize(("kind", "gone"), [("none", 1.0), ("steps", 0.25), ("chain", None), ("plateau", 0.5)])
def test_another_learning_rate_applies_from_the_checkpoint_on_and_the_same_changes_nothing(
    tmp_path: Path, kind: str, gone: float | None
) -> None:
    network, optimizer, schedule = _trained(0.8, kind)
    begun = take_up(None, network, optimizer, schedule)
    for _ in range(2 if schedule else 0):
        optimizer.step()
        schedule.step(*([1.0] if kind == "plateau" else []))
    now = optimizer.param_groups[0]["lr"]
    begun.network, begun.optimizer = network.state_dict(), optimizer.state_dict()
    begun.scheduler = schedule.state_dict() if schedule else None
    path = str(save(begun, tmp_path))

    for rate in (0.8, 0.08):
        again, other, schedule = _trained(rate, kind)
        state = take_up(path, again, other, schedule)
        assert other.param_groups[0]["lr"] == pytest.approx(now * rate / 0.8)
        assert gone is None or other.param_groups[0]["lr"] == pytest.approx(rate * gone)
        assert state.rates == [rate]
        bases = getattr(schedule, "base_lrs", [rate])
        assert bases == pytest.approx([rate])

"""Checkpoints are whole, few, and read without running code."""

import os
import pickle
from pathlib import Path

import pytest
import torch

from tasks.compute.failures import BadInputError
from tasks.compute.training.checkpoint import TrainingState, load, save, write_weights


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

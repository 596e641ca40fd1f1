"""Which network of one training is kept."""

from pathlib import Path
from queue import SimpleQueue

import pytest
import torch
from torch import nn

from configs.wire.host import HostMessage
from tasks.compute.training.checkpoint import TrainingState
from tasks.compute.training.pace import Bounds, Pace


class _Silent:
    def say(self, message: HostMessage) -> None:
        """Take one message."""


@pytest.mark.parametrize(
    ("came_to", "kept", "idle"),
    [
        pytest.param([0.5, 0.7, 0.6], 2, 1, id="the best"),
        pytest.param([0.5, 0.5, 0.4], 2, 2, id="of equal ones the last, which is no better one"),
    ],
)
def test_the_network_of_the_best_validation_is_kept(came_to: list[float], kept: int, idle: int, tmp_path: Path) -> None:
    state = TrainingState(epoch=0, steps=0, seconds=0.0, network={}, optimizer={})
    network = nn.Linear(1, 1, bias=False)
    pace = Pace(_Silent(), SimpleQueue(), folder=tmp_path, state=state, bounds=Bounds(3, None, 60))

    for number, value in enumerate(came_to, start=1):
        pace.step()
        nn.init.constant_(network.weight, number)
        pace.judged(value, network)

    assert state.best_network is not None
    torch.testing.assert_close(state.best_network["weight"], torch.tensor([[float(kept)]]))
    assert (state.best, state.idle) == (max(came_to), idle)

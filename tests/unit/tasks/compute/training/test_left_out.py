"""A case that cannot be read, or not be prepared, is left out: the others are trained on."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from configs.wire.host import Case, CheckpointAndExit
from tasks.compute.failures import BundleFaultError
from tests.unit.tasks.compute.training.conftest import Heard, Run, damage


def test_what_cannot_be_read_is_left_out_and_a_resumed_training_ends_the_same(run: Run, cases: list[Case]) -> None:
    damage(cases, "102", "106")
    Path(cases[4].label or "").write_bytes(b"no label")

    whole = run(name="whole")
    paused = run(Heard(at_step={4: CheckpointAndExit()}), name="paused")
    resumed = run(name="on", resume=paused.checkpoint.path)

    assert whole.result.left_out == resumed.result.left_out == ["102", "104", "106"]
    assert (whole.result.steps, resumed.result.steps) == (9, 9)
    same = zip(load_file(whole.result.weights).values(), load_file(resumed.result.weights).values(), strict=True)
    assert all(torch.equal(one, other) for one, other in same)
    assert whole.result.best is not None, "the other case validates"


def test_a_bundle_that_can_read_no_case_says_so(run: Run, cases: list[Case]) -> None:
    damage(cases, *(case.id for case in cases))

    with pytest.raises(BundleFaultError, match="none of the 6 training cases"):
        run()

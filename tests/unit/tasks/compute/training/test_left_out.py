"""A case that cannot be read or prepared, or on which the network fails, is left out: the others are trained on."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from configs.wire.host import Case, CheckpointAndExit
from tasks.compute.failures import BundleFaultError
from tests.unit.tasks.compute.training.conftest import Heard, Run, damage, deepen


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


def test_images_of_different_sizes_are_one_batch_and_none_is_left_out(run: Run, cases: list[Case]) -> None:
    deepen(cases, "101", "103", "104")

    together = run(name="together", batch_size=6, epochs=4)

    assert (together.result.steps, together.result.left_out) == (4, [])
    assert sorted(together.metric("train_loss")) == [1, 2, 3, 4]
    one_by_one = run(name="alone", batch_size=6, epochs=4, **{"network_def#fits": 1})
    pairs = zip(load_file(together.result.weights).values(), load_file(one_by_one.result.weights).values(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs), "each by itself, however much memory there is"


@pytest.mark.parametrize("batch_size", [1, 2])
def test_a_case_on_which_the_network_fails_is_left_out_of_training_and_validation(
    run: Run, cases: list[Case], batch_size: int
) -> None:
    deepen(cases, "103", "107")

    heard = run(batch_size=batch_size, **{"network_def#not_deep": [9]})

    assert heard.result.left_out == ["103", "107"]
    assert heard.result.steps == 3 * 6 // batch_size
    assert heard.result.best is not None, "the other case validates"


def test_a_network_that_fails_on_every_case_says_so(run: Run) -> None:
    with pytest.raises(BundleFaultError, match="none of the 6 training cases"):
        run(epochs=1, **{"network_def#not_deep": [8]})

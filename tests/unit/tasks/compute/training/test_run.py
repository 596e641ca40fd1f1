"""What a training does with its spec, its memory and its interruptions."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from configs.specs.train import TrainSpec
from configs.wire.host import Case, Checkpoint, CheckpointAndExit, Progress, TrainRequest, TrainResult
from infra.adapters.compute.process import ProcessHosts
from tasks.compute.failures import BadInputError, NotFiniteError, OutOfMemoryError
from tasks.compute.training.checkpoint import load
from tests.unit.tasks.compute.training.conftest import Heard, Run, damage


def _weights(heard: Heard) -> dict[str, torch.Tensor]:
    return load_file(heard.result.weights)


def _same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(value, other[name]) for name, value in one.items())


def test_the_same_spec_gives_the_same_weights_and_another_seed_others(run: Run) -> None:
    first, again, other = run(name="a"), run(name="b"), run(name="c", seed=1)

    assert first.result.steps == 9
    assert _same(_weights(first), _weights(again))
    assert not _same(_weights(first), _weights(other))


@pytest.mark.parametrize("step", [1, 3])
def test_a_paused_training_goes_on_at_the_same_step_and_ends_with_the_same_weights(run: Run, step: int) -> None:
    whole = run(name="whole")
    paused = run(Heard(at_step={step: CheckpointAndExit()}), name="paused")
    assert not any(isinstance(message, TrainResult) for message in paused.messages)
    left = load(Path(paused.checkpoint.path))

    gone_on = run(name="on", resume=paused.checkpoint.path)

    first = next(message for message in gone_on.messages if isinstance(message, Progress))
    assert first.step == left.steps + 1
    assert (gone_on.result.steps, gone_on.result.epoch) == (whole.result.steps, whole.result.epoch)
    assert _same(_weights(gone_on), _weights(whole))


def test_a_batch_that_does_not_fit_goes_through_in_parts_with_the_same_outcome(run: Run) -> None:
    whole = run(name="whole", batch_size=4, seed=3, **{"network_def#fits": 4})

    parts = run(name="parts", batch_size=4, seed=3, **{"network_def#fits": 1})

    assert parts.result.batch_at_once == 1
    assert parts.metric("batch_at_once") == {1: 1.0}
    assert parts.result.steps == whole.result.steps
    assert whole.result.batch_at_once is None


def test_memory_that_does_not_suffice_for_one_item_ends_training_with_the_sizes(run: Run) -> None:
    with pytest.raises(OutOfMemoryError, match=r"not even one item of 1 x 8 x 8 x 8 \(the batch has 2\)"):
        run(**{"network_def#fits": 0})


def test_a_loss_that_is_not_finite_names_epoch_step_and_cases(run: Run) -> None:
    with pytest.raises(NotFiniteError, match=r"epoch 2, step 1, of the case\(s\) 10[0-5], 10[0-5]:"):
        run(**{"network_def#nan_at": 4})


def test_overrides_reach_the_bundle(run: Run) -> None:
    plain, slow = run(name="plain", epochs=1), run(name="slow", epochs=1, **{"optimizer#lr": 1e-9})
    start = run(name="start", epochs=1, **{"optimizer#lr": 1e-12})

    assert not _same(_weights(plain), _weights(slow))
    change = max(float((_weights(slow)[name] - value).abs().max()) for name, value in _weights(start).items())
    assert change < 1e-6, "nothing was learned at that rate"


def test_steps_and_patience_bound_training(run: Run) -> None:
    assert run(name="steps", max_steps=4).result.steps == 4
    assert run(name="patience", epochs=50, patience=1, learning_rate=1e-12).result.epoch < 50


def test_minutes_bound_training_and_what_was_learnt_is_kept(run: Run) -> None:
    ended = run(epochs=50, max_minutes=1e-9)

    assert ended.result.steps == 1
    assert ended.result.best is not None


def test_validations_come_as_often_as_asked(run: Run) -> None:
    assert sorted(run(epochs=4, val_interval=2).metric("val_mean_dice")) == [0, 6, 12]


def test_bf16_trains_on_a_cpu_and_16_mixed_is_refused_there(run: Run) -> None:
    assert run(epochs=1, precision="bf16-mixed").result.precision == "bf16-mixed"
    with pytest.raises(BadInputError, match="16-mixed needs a GPU and this machine has none"):
        run(epochs=1, precision="16-mixed")


def test_two_processes_train_together_and_one_of_them_speaks(bundle: Path, cases: list[Case], tmp_path: Path) -> None:
    damage(cases, "102", "107")  # the second process alone validates with the last case
    request = TrainRequest(
        bundle=str(bundle),
        cases=cases,
        labels={1: "ball"},
        spec=TrainSpec(epochs=2, num_gpu=2, overrides={"network_def#fits": 1}),
        out=str(tmp_path / "two" / "out"),
        cache=str(tmp_path / "cache"),
    )

    with ProcessHosts().start(request, work=tmp_path / "two", bundle=bundle, threads=2) as host:
        messages = list(host.messages())

    result = messages[-1]
    assert isinstance(result, TrainResult), messages
    # Six cases, two at a time in each of two processes.
    assert (result.ranks, result.epoch, result.steps, result.batch_at_once) == (2, 2, 4, 1)
    assert result.left_out == ["102", "107"]
    assert result.best is not None
    assert [type(message) for message in messages].count(Checkpoint) == 2

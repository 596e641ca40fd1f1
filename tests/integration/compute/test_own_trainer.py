"""A trainer that a bundle brings runs as it is: its progress, metrics and weights come back as any training's."""

import json
from pathlib import Path
from typing import Literal

import nibabel as nib
import numpy as np
import pytest
from safetensors.torch import load_file

from configs.specs.train import TrainSpec
from configs.wire.host import (
    Case,
    CaseResult,
    Checkpoint,
    CheckpointAndExit,
    EvaluateRequest,
    Failed,
    HostMessage,
    Metric,
    Progress,
    TrainRequest,
    TrainResult,
)
from infra.adapters.compute.process import ProcessHosts
from tests.bundles import narrow_classifier, picture
from tests.shapes.configured import no_training
from tests.shapes.own_code import own_iteration, own_trainer, teach_classifier

LABELS = {1: "organ"}
SHAPE = (20, 18, 16)


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> list[Case]:
    """Four balls to train on, one to validate, two to evaluate; of one nobody drew anything."""
    folder = tmp_path_factory.mktemp("cases")
    sides = ["train"] * 4 + ["validate"] + ["evaluate"] * 2
    return [_case(folder, number).model_copy(update={"side": side}) for number, side in enumerate(sides)]


def _case(folder: Path, number: int) -> Case:
    random = np.random.default_rng(number)
    index = np.stack(np.meshgrid(*map(np.arange, SHAPE), indexing="ij"), -1)
    label = (np.linalg.norm(index - random.uniform(6, 9, 3), axis=-1) < 5).astype(np.uint8)
    image = (label + random.normal(0, 0.1, SHAPE)).astype(np.float32)
    for kind, values in (("image", image), ("label", label)):
        nib.save(nib.Nifti1Image(values, np.eye(4)), folder / f"{kind}{number}.nii")
    return Case(id=f"c{number}", image=[str(folder / f"image{number}.nii")], label=str(folder / f"label{number}.nii"))


def _request(bundle: Path, work: Path, cases: list[Case], *, resume: str | None = None, **spec: object) -> TrainRequest:
    return TrainRequest(
        bundle=str(bundle),
        cases=[case for case in cases if case.side != "evaluate"],
        labels=LABELS,
        spec=TrainSpec.model_validate(spec),
        resume=resume,
        out=str(work / "out"),
        cache=str(work / "cache"),
    )


def _train(hosts: ProcessHosts, request: TrainRequest, work: Path) -> list[HostMessage]:
    with hosts.start(request, work=work, bundle=Path(request.bundle), threads=1) as host:
        return list(host.messages())


def _result(messages: list[HostMessage]) -> TrainResult:
    (found,) = (message for message in messages if isinstance(message, TrainResult))
    return found


def test_it_trains_validates_and_is_judged_as_any_other(hosts: ProcessHosts, tmp_path: Path, cases: list[Case]) -> None:
    bundle = own_trainer().write(tmp_path / "bundle")
    request = _request(bundle, tmp_path / "train", cases, epochs=6, val_interval=2, learning_rate=0.05)

    messages = _train(hosts, request, tmp_path / "train")

    result = _result(messages)
    assert (result.epoch, result.steps) == (6, 12)
    assert result.best is not None
    assert result.val_at_start is not None
    assert result.best > result.val_at_start
    metrics = [message for message in messages if isinstance(message, Metric)]
    assert {metric.name for metric in metrics} == {"train_loss", "val_mean_dice"}
    assert [metric.step for metric in metrics if metric.name == "val_mean_dice"] == [0, 4, 8, 12]
    steps = [message for message in messages if isinstance(message, Progress)]
    assert (steps[-1].step, steps[-1].max_step, steps[-1].max_epoch) == (12, 12, 6)
    assert [message.epoch for message in messages if isinstance(message, Checkpoint)] == [1, 2, 3, 4, 5, 6]
    before, after = _judged(hosts, bundle, tmp_path / "evaluate", cases, result.weights)
    assert after > before + 0.2


def test_classes_are_learnt_by_it_too(hosts: ProcessHosts, tmp_path: Path) -> None:
    bundle = teach_classifier(narrow_classifier(tmp_path / "bundle"))
    cases = [_picture(tmp_path, number, "train" if number < 8 else "validate") for number in range(10)]
    request = _request(bundle, tmp_path / "train", cases, epochs=15, batch_size=4, learning_rate=0.01)
    request = request.model_copy(update={"labels": {0: "plain", 5: "striped"}})

    result = _result(messages := _train(hosts, request, tmp_path / "train"))

    assert (result.steps, result.left_out) == (30, [])
    assert {message.name for message in messages if isinstance(message, Metric)} == {"train_loss", "val_accuracy"}
    asked = EvaluateRequest(bundle=str(bundle), cases=cases, labels=request.labels, versions={"new": result.weights})
    with hosts.start(asked, work=tmp_path / "judge", bundle=bundle, threads=1) as host:
        judged = [message for message in host.messages() if isinstance(message, CaseResult)]
    assert [set(one.per_label.values()) <= {0.0, 1.0, None} for one in judged] == [True] * len(cases)
    assert sum(one.mean or 0 for one in judged) >= 8


def _picture(folder: Path, number: int, side: Literal["train", "validate"]) -> Case:
    """A grey picture, which this network takes as a coloured one, of a class that the experiment calls 0 or 5."""
    picture(number, number % 2).convert("L").save(folder / f"{number}.png")
    (folder / f"{number}.json").write_text(json.dumps({"class": 5 * (number % 2)}))
    return Case(id=f"p{number}", image=[str(folder / f"{number}.png")], label=str(folder / f"{number}.json"), side=side)


def test_what_it_cannot_read_is_left_out_and_named(hosts: ProcessHosts, tmp_path: Path, cases: list[Case]) -> None:
    bundle = own_trainer().write(tmp_path / "bundle")
    broken = tmp_path / "broken.nii"
    broken.write_bytes(Path(cases[1].image[0]).read_bytes()[:500])
    asked = [
        cases[0].model_copy(update={"label": str(broken)}),
        cases[1].model_copy(update={"image": [str(broken)]}),
        *cases[2:4],
        cases[4].model_copy(update={"image": [str(broken)]}),
        cases[5].model_copy(update={"side": "validate"}),
    ]

    result = _result(_train(hosts, _request(bundle, tmp_path / "train", asked, epochs=2), tmp_path / "train"))

    assert result.left_out == ["c0", "c1", "c4"]
    assert (result.epoch, result.steps) == (2, 2)
    assert result.best is not None, "the other case validates"


def _with_an_odd_one(folder: Path, cases: list[Case]) -> list[Case]:
    """Return the cases, of one of which the bundle's network fails on the depth."""
    for name in (cases[2].image[0], cases[2].label or ""):
        array = np.asarray(nib.load(name).dataobj)[:, :, :15]
        nib.save(nib.Nifti1Image(array, np.eye(4)), folder / Path(name).name)
    files = {
        "image": [str(folder / Path(cases[2].image[0]).name)],
        "label": str(folder / Path(cases[2].label or "").name),
    }
    return [*cases[:2], cases[2].model_copy(update=files), cases[3]]


def test_a_case_on_which_it_fails_is_left_out_and_where_that_may_be_any_of_several_they_are_named(
    hosts: ProcessHosts, tmp_path: Path, cases: list[Case]
) -> None:
    bundle, asked = own_trainer().write(tmp_path / "bundle"), _with_an_odd_one(tmp_path, cases)

    result = _result(_train(hosts, _request(bundle, tmp_path / "a", asked, epochs=2, batch_size=1), tmp_path / "a"))
    *_, failed = _train(hosts, _request(bundle, tmp_path / "b", asked, epochs=2, batch_size=4), tmp_path / "b")

    assert (result.left_out, result.epoch, result.steps % 3) == (["c2"], 2, 0)
    assert isinstance(failed, Failed)
    assert "case c2 is 1 x 20 x 18 x 15" in failed.message
    assert "ask for batch_size 1" in failed.message


def test_a_trainer_that_always_fails_is_at_fault_itself(hosts: ProcessHosts, tmp_path: Path, cases: list[Case]) -> None:
    shape = own_trainer()
    shape.files["scripts/parts.py"] = shape.files["scripts/parts.py"].replace("loss.backward()", "loss.no_such_thing()")
    whole = [case for case in cases if case.side == "train"]

    bundle = shape.write(tmp_path / "bundle")
    *_, failed = _train(hosts, _request(bundle, tmp_path / "a", whole, epochs=2, batch_size=1), tmp_path / "a")

    assert isinstance(failed, Failed)
    assert "The bundle's own trainer fails (AttributeError) on case(s) c" in failed.message


def _judged(hosts: ProcessHosts, bundle: Path, work: Path, cases: list[Case], weights: str) -> tuple[float, float]:
    unseen = [case for case in cases if case.side == "evaluate"]
    request = EvaluateRequest(bundle=str(bundle), cases=unseen, labels=LABELS, versions={"base": "", "new": weights})
    with hosts.start(request, work=work, bundle=bundle, threads=1) as host:
        found = [message for message in host.messages() if isinstance(message, CaseResult)]
    means = {version: [each.mean or 0.0 for each in found if each.version == version] for version in request.versions}
    assert all(len(values) == 2 for values in means.values())
    return sum(means["base"]) / 2, sum(means["new"]) / 2


def test_it_is_paused_and_goes_on_and_keeps_within_its_bounds(
    hosts: ProcessHosts, tmp_path: Path, cases: list[Case]
) -> None:
    bundle = own_iteration().write(tmp_path / "bundle")
    whole = [case for case in cases if case.side == "train"]
    paused: list[HostMessage] = []
    request = _request(bundle, tmp_path / "one", whole, epochs=50)
    with hosts.start(request, work=tmp_path / "one", bundle=bundle, threads=1) as host:
        for message in host.messages():
            paused.append(message)
            if isinstance(message, Checkpoint) and message.epoch == 1:
                host.send(CheckpointAndExit())
    left = [message for message in paused if isinstance(message, Checkpoint)][-1]
    assert not any(isinstance(message, TrainResult) for message in paused)

    again = _request(bundle, tmp_path / "two", whole, resume=left.path, epochs=50, max_steps=2 * left.epoch + 5)
    result = _result(_train(hosts, again, tmp_path / "two"))

    assert result.steps >= 2 * left.epoch + 5
    assert result.best is None
    assert all(value.isfinite().all() for value in load_file(result.weights).values())


def test_what_it_cannot_do_is_said(hosts: ProcessHosts, tmp_path: Path, cases: list[Case]) -> None:
    trainer = own_trainer().write(tmp_path / "trainer")
    other = [case.model_copy(update={"annotated": ["something else"]}) for case in cases]
    said = {
        "all labels drawn": _request(trainer, tmp_path / "partly", other),
        "tier C": _request(no_training().write(tmp_path / "infers"), tmp_path / "infers-work", cases),
    }
    for reason, request in said.items():
        *_, failed = _train(hosts, request, Path(request.out).parent)
        assert isinstance(failed, Failed)
        assert reason in failed.message

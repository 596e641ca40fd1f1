"""Boxes: a bundle with a detector learns them, is judged and scored by them, and answers with them."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from configs.specs.train import TrainSpec
from configs.wire.answers import BoxesAnswer
from configs.wire.host import (
    Case,
    CaseResult,
    EvaluateRequest,
    Failed,
    HostMessage,
    HostRequest,
    ImageScore,
    Load,
    Metric,
    Predict,
    Prediction,
    ScoreRequest,
    ServeRequest,
    TrainRequest,
    TrainResult,
)
from infra.adapters.compute.process import ProcessHosts
from tasks.bundles.examine import examine
from tests.shapes.answering import finds_boxes, finds_boxes_in_voxels

LABELS = {3: "nodule"}
SHAPE = (24, 22, 20)
AFFINE = np.array([[0, 2, 0, -9], [-2, 0, 0, 7], [0, 0, 3, 5], [0, 0, 0, 1.0]])  # voxel to RAS, axes turned
RADIUS = 3.5


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return finds_boxes().write(tmp_path_factory.mktemp("bundles") / "boxes")


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> list[Case]:
    """Four balls to train on, one to validate, two to evaluate; the last has a second label that nobody asked for."""
    folder = tmp_path_factory.mktemp("cases")
    sides = ["train"] * 4 + ["validate"] + ["evaluate"] * 2
    return [_case(folder, number).model_copy(update={"side": side}) for number, side in enumerate(sides)]


def _case(folder: Path, number: int) -> Case:
    random = np.random.default_rng(number)
    centre = random.uniform(6, np.array(SHAPE) - 6)
    index = np.stack(np.meshgrid(*map(np.arange, SHAPE), indexing="ij"), -1)
    image = (np.linalg.norm(index - centre, axis=-1) < RADIUS) + random.normal(0, 0.1, SHAPE)
    nib.save(nib.Nifti1Image(image.astype(np.float32), AFFINE), folder / f"image{number}.nii")
    ends = np.array([AFFINE @ [*(centre + sign * RADIUS), 1] for sign in (-1, 1)])[:, :3] * [-1, -1, 1]
    box = [*ends.min(axis=0), *ends.max(axis=0)]
    said = {"boxes": [box, box], "classes": [3, 9]} if number == 6 else {"boxes": [box], "classes": [3]}
    (folder / f"label{number}.json").write_text(json.dumps(said))
    return Case(id=f"c{number}", image=[str(folder / f"image{number}.nii")], label=str(folder / f"label{number}.json"))


def _run(hosts: ProcessHosts, request: HostRequest, work: Path, bundle: Path) -> list[HostMessage]:
    with hosts.start(request, work=work, bundle=bundle, threads=1) as host:
        return list(host.messages())


def _train(bundle: Path, work: Path, cases: list[Case], epochs: int) -> TrainRequest:
    learning = [case for case in cases if case.side != "evaluate"]
    out, cache = str(work / "out"), str(work / "cache")
    spec = TrainSpec(epochs=epochs)
    return TrainRequest(bundle=str(bundle), cases=learning, labels=LABELS, spec=spec, out=out, cache=cache)


def test_it_registers_as_what_brings_its_own_trainer(hosts: ProcessHosts, bundle: Path, tmp_path: Path) -> None:
    found = examine(hosts, bundle, tmp_path)
    assert (found.tier, found.answers, found.labels) == ("B", "boxes", {0: "nodule"})
    assert found.reason == "Its trainer is scripts.detection.DetectionTrainer, which is run as it is"
    assert (found.notes, found.key_metric) == ([], "val_coco")
    assert "cls_logits" in found.head


def test_a_training_that_takes_boxes_in_voxels_is_none(hosts: ProcessHosts, tmp_path: Path) -> None:
    found = examine(hosts, finds_boxes_in_voxels().write(tmp_path / "bundle"), tmp_path / "check")
    assert found.tier == "C"
    assert "does not take boxes in world coordinates (AffineBoxToImageCoordinated): inference only" in found.reason


def test_boxes_are_learnt_judged_scored_and_answered(
    hosts: ProcessHosts, bundle: Path, cases: list[Case], tmp_path: Path
) -> None:
    *told, result = _run(hosts, _train(bundle, tmp_path / "train", cases, 20), tmp_path / "train", bundle)
    assert isinstance(result, TrainResult), result
    assert result.left_out == []
    values = [message.value for message in told if isinstance(message, Metric) and message.name == "val_coco"]
    assert values[-1] > values[0]

    unseen = [case for case in cases if case.side == "evaluate"]
    asked = EvaluateRequest(
        bundle=str(bundle), cases=unseen, labels=LABELS, versions={"base": "", "new": result.weights}
    )
    judged = [one for one in _run(hosts, asked, tmp_path / "judge", bundle) if isinstance(one, CaseResult)]
    assert [(one.version, one.metric) for one in judged] == [
        (version, "mean_average_precision") for version in ("base", "base", "new", "new")
    ]
    assert [one.per_label.keys() for one in judged] == [{"nodule"}] * 4
    assert all((new.mean or 0) > 0.5 > (old.mean or 0) for old, new in zip(judged[:2], judged[2:], strict=True))

    score = ScoreRequest(bundle=str(bundle), images=unseen, labels=LABELS, weights=result.weights)
    scores = [one for one in _run(hosts, score, tmp_path / "score", bundle) if isinstance(one, ImageScore)]
    assert [0 < (one.score or 0) <= 1 for one in scores] == [True, True]

    answer = _served(hosts, bundle, tmp_path / "serve", unseen[0].image, result.weights)
    truth = json.loads(Path(unseen[0].label or "").read_text())
    assert answer.classes[0] == 3
    assert answer.scores == sorted(answer.scores, reverse=True)
    np.testing.assert_allclose(answer.boxes[0], truth["boxes"][0], atol=4)


def _served(hosts: ProcessHosts, bundle: Path, work: Path, image: list[str], weights: str) -> BoxesAnswer:
    request = ServeRequest(bundle=str(bundle), labels=LABELS, out=str(work / "out"), cache=str(work / "cache"))
    readable = [Path(image[0]).parent, Path(weights).parent]
    with hosts.start(request, work=work, bundle=bundle, readable=readable, threads=1) as host:
        messages = host.messages()
        host.send(Load(version="one", weights=weights))
        next(messages), next(messages)
        host.send(Predict(id="p", version="one", image=image, name="p.nii.gz"))
        answer = next(messages)
        assert isinstance(answer, Prediction), answer
        assert answer.path.endswith(".json")
        return BoxesAnswer.model_validate_json(Path(answer.path).read_bytes())


def test_images_without_a_box_are_learnt_from_and_other_names_get_a_new_head(
    hosts: ProcessHosts, bundle: Path, cases: list[Case], tmp_path: Path
) -> None:
    empty = tmp_path / "none.json"
    empty.write_text('{"boxes": [], "classes": []}')
    mixed = [cases[0], cases[1].model_copy(update={"label": str(empty)})]
    request = _train(bundle, tmp_path / "train", mixed, 1).model_copy(update={"labels": {1: "cyst", 3: "nodule"}})
    *_, result = _run(hosts, request, tmp_path / "train", bundle)
    assert not isinstance(result, Failed), result
    assert isinstance(result, TrainResult)
    assert (result.head_rebuilt, result.left_out, result.steps) == (True, [], 2)

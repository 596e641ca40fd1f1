"""Images of four files, and regions of a tumour that contain each other: learnt, judged, scored and predicted."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from configs.specs.train import TrainSpec
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
from tests.shapes.answering import regions

# As BraTS numbers them in its files: what of the tumour is core and does not enhance, what is no core, what enhances.
LABELS = {1: "tumour core", 2: "whole tumour", 4: "enhancing tumour"}
SHAPE = (20, 18, 16)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return regions().write(tmp_path_factory.mktemp("bundles") / "regions")


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> list[Case]:
    """Four tumours to train on, one to validate, two to evaluate."""
    folder = tmp_path_factory.mktemp("cases")
    sides = ["train"] * 4 + ["validate"] + ["evaluate"] * 2
    return [_case(folder, number).model_copy(update={"side": side}) for number, side in enumerate(sides)]


def _case(folder: Path, number: int) -> Case:
    random = np.random.default_rng(number)
    index = np.stack(np.meshgrid(*map(np.arange, SHAPE), indexing="ij"), -1)
    distance = np.linalg.norm(index - random.uniform(7, 9, 3), axis=-1)
    regions = [distance < radius for radius in (6.5, 4.5, 2.5)]
    label = np.select(regions[::-1], [4, 1, 2], 0).astype(np.uint8)
    nib.save(nib.Nifti1Image(label, np.eye(4)), folder / f"label{number}.nii")
    files = []
    for channel, region in enumerate([*regions, label > 0]):
        files.append(str(folder / f"image{number}-{channel}.nii"))
        values = (region + random.normal(1, 0.1, SHAPE)).astype(np.float32)
        nib.save(nib.Nifti1Image(values, np.eye(4)), files[-1])
    return Case(id=f"c{number}", image=files, label=str(folder / f"label{number}.nii"))


def _run(hosts: ProcessHosts, request: HostRequest, work: Path, bundle: Path) -> list[HostMessage]:
    with hosts.start(request, work=work, bundle=bundle, threads=1) as host:
        return list(host.messages())


def _train(bundle: Path, work: Path, cases: list[Case], *, epochs: int = 30) -> TrainRequest:
    learning = [case for case in cases if case.side != "evaluate"]
    spec = TrainSpec(epochs=epochs, val_interval=epochs)
    out, cache = str(work / "out"), str(work / "cache")
    return TrainRequest(bundle=str(bundle), cases=learning, labels=LABELS, spec=spec, out=out, cache=cache)


def test_regions_are_learnt_judged_scored_and_drawn_innermost(
    hosts: ProcessHosts, bundle: Path, cases: list[Case], tmp_path: Path
) -> None:
    *told, result = _run(hosts, _train(bundle, tmp_path / "train", cases), tmp_path / "train", bundle)
    assert isinstance(result, TrainResult), result
    named = {message.label: message.value for message in told if isinstance(message, Metric) and message.label}
    assert named.keys() == {*LABELS.values()}
    assert min(named.values()) > 0.6

    unseen = [case for case in cases if case.side == "evaluate"]
    asked = EvaluateRequest(
        bundle=str(bundle), cases=unseen, labels=LABELS, versions={"base": "", "new": result.weights}
    )
    judged = [one for one in _run(hosts, asked, tmp_path / "judge", bundle) if isinstance(one, CaseResult)]
    assert [one.version for one in judged] == ["base", "base", "new", "new"]
    for one in judged[2:]:
        assert one.per_label.keys() == {*LABELS.values()}
        assert min(value or 0 for value in one.per_label.values()) > 0.6

    score = ScoreRequest(bundle=str(bundle), images=unseen, labels=LABELS, weights=result.weights)
    scores = [one for one in _run(hosts, score, tmp_path / "score", bundle) if isinstance(one, ImageScore)]
    assert len(scores) == 2

    drawn = _served(hosts, bundle, tmp_path / "serve", unseen[0].image, result.weights)
    truth = np.asarray(nib.load(unseen[0].label or "").dataobj)
    assert isinstance(drawn, Prediction), drawn
    found = np.asarray(nib.load(drawn.path).dataobj)
    assert set(np.unique(found)) == {0, *LABELS}
    assert (found == truth).mean() > 0.95


def _served(hosts: ProcessHosts, bundle: Path, work: Path, image: list[str], weights: str) -> HostMessage:
    request = ServeRequest(bundle=str(bundle), labels=LABELS, out=str(work / "out"), cache=str(work / "cache"))
    readable = [Path(image[0]).parent, *([Path(weights).parent] if weights else [])]
    with hosts.start(request, work=work, bundle=bundle, readable=readable, threads=1) as host:
        messages = host.messages()
        host.send(Load(version="one", weights=weights))
        next(messages), next(messages)
        host.send(Predict(id="p", version="one", image=image, name="p.nii.gz"))
        answer = next(messages)
        if isinstance(answer, Prediction):
            kept = work / "kept.nii.gz"
            kept.write_bytes(Path(answer.path).read_bytes())
            answer = answer.model_copy(update={"path": str(kept)})
        return answer


def test_another_number_of_channels_is_refused_with_both(
    hosts: ProcessHosts, bundle: Path, cases: list[Case], tmp_path: Path
) -> None:
    said = r"The image has 3 channel(s), and the bundle's network takes 4"
    fewer = [case.model_copy(update={"image": case.image[:3]}) for case in cases]
    answer = _served(hosts, bundle, tmp_path / "serve", fewer[0].image, "")
    *_, failed = _run(hosts, _train(bundle, tmp_path / "train", fewer), tmp_path / "train", bundle)
    for one in (answer, failed):
        assert isinstance(one, Failed), one
        assert said in one.message


def test_names_that_the_regions_do_not_have_are_refused(
    hosts: ProcessHosts, bundle: Path, cases: list[Case], tmp_path: Path
) -> None:
    request = _train(bundle, tmp_path, cases).model_copy(update={"labels": {1: "liver"}})
    *_, failed = _run(hosts, request, tmp_path, bundle)
    assert isinstance(failed, Failed)
    assert "an experiment has some of its own labels, and no others" in failed.message

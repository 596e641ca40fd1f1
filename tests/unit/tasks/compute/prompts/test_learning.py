"""VISTA-3D's interface learns: names and clicks, of labels that it names and of one's own, on cases it has not seen."""

from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

import nibabel as nib
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import ndimage

from configs.specs.infer import InferSpec
from configs.specs.train import TrainSpec
from configs.wire.host import Case, TrainRequest
from tasks.compute.inference.arrangement import Arrangement
from tasks.compute.inference.predictor import Predictor
from tasks.compute.loader.config import Bundle
from tasks.compute.loader.network import build_network
from tasks.compute.metrics.counts import Counts
from tasks.compute.metrics.dice import dice as overlap
from tasks.compute.prompts.network import Prompted
from tasks.compute.training.run import train
from tasks.compute.training.team import Team
from tasks.images.sample.write import SampleCase, write_cases
from tests.bundles import narrow
from tests.unit.tasks.compute.training.conftest import Heard

LABELS = {1: "liver", 2: "spleen", 3: "my organ"}
"""The sample's grey matter, white matter and cerebellum, under two names of the table and one of one's own."""
CLICKED = 2
TRAINED, HELD_OUT = 8, 4
EPOCHS = 12
SPACING_MM = 6
Labels = NDArray[np.uint8]


@dataclass(frozen=True)
class Taught:
    """The bundle, the network's weights after training, and cases that it was not trained on."""

    bundle: Bundle
    weights: Path
    held_out: tuple[SampleCase, ...]

    def model(self, *, trained: bool = True) -> "Model":
        network, channels = build_network(
            self.bundle, self.bundle.inference(), labels=LABELS, weights=self.weights if trained else None
        )
        assert isinstance(network, Prompted)
        plain = Arrangement()
        predictor = Predictor(self.bundle, self.bundle.inference(), channels, cache=None, arrangement=plain)
        return Model(network.eval(), predictor)


@dataclass(frozen=True)
class Model:
    """A network, and what predicts with it."""

    network: Prompted
    predictor: Predictor

    def said(self, case: SampleCase, asked: InferSpec | None = None) -> Labels:
        labels, _, _ = self.predictor.segment(self.network, [str(case.image)], asked=asked or InferSpec())
        return labels

    def mean_dice(self, cases: tuple[SampleCase, ...]) -> float:
        return float(np.mean([dice(truth(case), self.said(case), label) for case in cases for label in LABELS]))


def truth(case: SampleCase) -> Labels:
    return np.asarray(nib.load(case.truth).dataobj, dtype=np.uint8)


def dice(reference: Labels, said: Labels, label: int) -> float:
    return overlap(Counts.of(torch.from_numpy(reference == label), torch.from_numpy(said == label))) or 0.0


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> Taught:
    folder = tmp_path_factory.mktemp("vista3d")
    written = write_cases(
        folder / "images", folder / "truth", count=TRAINED + HELD_OUT, seed=3, spacing_mm=SPACING_MM
    ).cases
    bundle = narrow(folder / "bundle", spacing_mm=SPACING_MM)
    cases = [
        Case(id=str(number), side="train", image=[str(case.image)], label=str(case.truth))
        for number, case in enumerate(written[:TRAINED])
    ]
    # Each step asks for what it needs most here, where both branches start from nothing: clicks in half of them alone.
    spec = TrainSpec.from_request({"epochs": EPOCHS, "learning_rate": 0.001, "drop_label_prob": 0.5})
    heard, out = Heard(), folder / "out"
    out.mkdir()
    request = TrainRequest(
        bundle=str(bundle), cases=cases, labels=LABELS, spec=spec, out=str(out), cache=str(folder / "cache")
    )
    train(request, heard, SimpleQueue(), Team(), 0)
    assert heard.result.steps == EPOCHS * TRAINED
    return Taught(Bundle(bundle), Path(heard.result.weights), written[TRAINED:])


@pytest.mark.slow
def test_names_alone_find_more_on_cases_that_it_has_not_seen(taught: Taught) -> None:
    untrained = taught.model(trained=False).mean_dice(taught.held_out)
    assert taught.model().mean_dice(taught.held_out) > untrained + 0.2


@pytest.mark.slow
def test_a_click_where_a_class_is_missed_raises_it(taught: Taught) -> None:
    model, raised = taught.model(), 0
    for case in taught.held_out:
        before = model.said(case, InferSpec(label_prompt=(CLICKED,)))
        missed = (truth(case) == CLICKED) & (before != CLICKED)
        depth = ndimage.distance_transform_cdt(missed)
        deepest = tuple(int(index) for index in np.unravel_index(depth.argmax(), depth.shape))
        after = model.said(case, InferSpec(label_prompt=(CLICKED,), points=(deepest,), point_labels=(1,)))
        raised += dice(truth(case), after, CLICKED) > dice(truth(case), before, CLICKED)
    assert raised >= 3

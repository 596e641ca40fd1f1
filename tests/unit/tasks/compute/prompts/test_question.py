"""What requests ask of a network that takes prompts."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from configs.specs.infer import InferSpec
from tasks.compute.failures import BadInputError
from tasks.compute.inference.arrangement import Arrangement
from tasks.compute.inference.grid import Grid
from tasks.compute.inference.predictor import Predictor
from tasks.compute.loader.channels import Channels
from tasks.compute.loader.config import Bundle
from tasks.compute.loader.network import build_network
from tasks.compute.prompts.network import Prompted
from tasks.compute.prompts.question import Question, question_of
from tests.bundles import narrow

LABELS = {1: "liver", 2: "kidney", 3: "spleen", 4: "hepatic tumor", 5: "right kidney", 6: "my organ", 16: "rectum"}
GRID = Grid((30, 20, 10), np.array([[-3.0, 0, 0, 90], [0, -1.5, 0, 30], [0, 0, 1.5, -7], [0, 0, 0, 1]]))
PREPARED = Grid((60, 20, 10), np.array([[1.5, 0, 0, 3], [0, 1.5, 0, 1.5], [0, 0, 1.5, -7], [0, 0, 0, 1]]))


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return Bundle(narrow(tmp_path_factory.mktemp("bundles") / "vista3d"))


@pytest.fixture(scope="module")
def built(bundle: Bundle) -> tuple[Prompted, Channels]:
    network, channels = build_network(bundle, bundle.inference(), labels=LABELS, weights=None)
    assert isinstance(network, Prompted)
    return network.eval(), channels


def asked(built: tuple[Prompted, Channels], **prompts: object) -> Question:
    return question_of(*built, InferSpec.model_validate(prompts), PREPARED, GRID)


def test_label_prompt_chooses_by_the_experiments_index_and_passes_over_what_there_is_not(
    built: tuple[Prompted, Channels],
) -> None:
    question = asked(built, label_prompt=range(1, 118))
    assert question.channels.names == ("liver", "spleen", "hepatic tumor", "right kidney", "my organ", "kidney")
    assert question.classes == (1, 3, 26, 5, 133, 2)
    assert asked(built, label_prompt=[6]).classes == (133,)
    assert asked(built).classes == question.classes


def test_nothing_that_can_be_looked_for_is_refused_with_what_can(built: tuple[Prompted, Channels]) -> None:
    with pytest.raises(BadInputError, match="these can: 1, 2, 3, 4, 5, 6"):
        asked(built, label_prompt=[16])


def test_what_published_weights_have_not_learnt_is_looked_for_around_clicks_alone(
    built: tuple[Prompted, Channels],
) -> None:
    network, channels = built
    published = network.asked(network.classes)
    published.as_published()
    both = (published, channels)

    assert asked(both).classes == (1, 3, 26, 5, 2)
    assert asked(both, label_prompt=[1, 6]).classes == (1,)
    with pytest.raises(BadInputError, match=r"these can: 1, 2, 3, 4, 5\. Not learnt yet: my organ \(6\); click on it"):
        asked(both, label_prompt=[6])
    clicks = asked(both, label_prompt=[6], points=[[1, 1, 1]], point_labels=[1]).clicks
    assert clicks is not None
    assert (clicks.number, clicks.own) == (133, True)
    assert asked(built).classes == (1, 3, 26, 5, 133, 2)


def test_everything_is_what_can_be_told_apart(bundle: Bundle) -> None:
    network, channels = build_network(bundle, bundle.inference(), labels=None, weights=None)
    assert isinstance(network, Prompted)
    question = question_of(network, channels, InferSpec(), PREPARED, GRID)
    assert len(question.classes) == 117
    assert question.channels.labels == question.classes
    assert (
        len(question_of(network, channels, InferSpec(label_prompt=tuple(range(1, 118))), PREPARED, GRID).classes) == 115
    )


def test_a_network_that_is_asked_for_fewer_classes_shares_its_layers_and_leaves_the_other_as_it_is(
    built: tuple[Prompted, Channels],
) -> None:
    network, _ = built
    few, patch = network.asked(network.classes[:2]), torch.zeros(1, 1, 32, 32, 32)
    with torch.inference_mode():
        torch.testing.assert_close(few(patch), network(patch)[:, :2])
    assert next(few.parameters()) is next(network.parameters())


def test_clicks_are_voxels_of_the_images_own_grid(built: tuple[Prompted, Channels]) -> None:
    clicks = asked(built, label_prompt=[3], points=[[29, 19, 0], [10, 4, 9]], point_labels=[1, 0]).clicks
    assert clicks is not None
    # The first lies at 3, 1.5 and -7 mm, the first voxel of the prepared grid; the network would leave out 0.
    assert clicks.points.tolist() == [[[0.5, 0.5, 0.5], [38, 15, 9]]]
    assert clicks.sides.tolist() == [[1, 0]]


def test_clicks_on_a_tumour_have_sides_of_their_own(built: tuple[Prompted, Channels]) -> None:
    clicks = asked(built, label_prompt=[4], points=[[1, 1, 1], [2, 2, 2]], point_labels=[1, 0]).clicks
    assert clicks is not None
    assert clicks.sides.tolist() == [[3, 2]]


@pytest.mark.parametrize(
    ("prompts", "said"),
    [
        ({"label_prompt": [1, 3], "points": [[1, 1, 1]], "point_labels": [1]}, "belong to one label"),
        ({"label_prompt": [2], "points": [[1, 1, 1]], "point_labels": [1]}, "kidney is a union"),
        ({"label_prompt": [3], "points": [[1, 1, 1]], "point_labels": [1, 0]}, "1 points have 2 point_labels"),
        ({"label_prompt": [3], "points": [[1, 1, 1]], "point_labels": [7]}, "point_labels are 1"),
        ({"label_prompt": [3], "points": [[1, 1, 1]], "point_labels": [0]}, "at least one is 1"),
        ({"label_prompt": [3], "points": [[30, 1, 1]], "point_labels": [1]}, "30 x 20 x 10 voxels"),
    ],
)
def test_clicks_that_cannot_be_used_say_why(
    built: tuple[Prompted, Channels], prompts: dict[str, object], said: str
) -> None:
    with pytest.raises(BadInputError, match=said):
        asked(built, **prompts)


def test_a_union_is_as_likely_as_its_likeliest_part(built: tuple[Prompted, Channels]) -> None:
    network, _ = built
    patch = torch.rand(1, 1, 32, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        whole, parts = network(patch, [2, 3]), network(patch, [14, 5, 3])
    assert whole.shape == (1, 2, 32, 32, 32)
    assert torch.allclose(whole[:, 0], parts[:, :2].amax(1))
    assert torch.allclose(whole[:, 1], parts[:, 2])


def test_clicks_change_the_answer_around_them_alone(
    bundle: Bundle, built: tuple[Prompted, Channels], tmp_path: Path
) -> None:
    network, channels = built
    image = np.random.default_rng(0).normal(0, 300, (56, 32, 32)).astype(np.float32)
    file = str(tmp_path / "image.nii")
    nib.save(nib.Nifti1Image(image, np.diag([-1.5, -1.5, 1.5, 1])), file)
    predictor = Predictor(bundle, bundle.inference(), channels, cache=None, arrangement=Arrangement())
    automatic, _, _ = predictor.segment(network, [file], asked=InferSpec(label_prompt=(3,)))
    place = tuple(int(index) for index in np.argwhere(automatic[4:12, 4:28, 4:28] == 0)[0] + 4)

    click = InferSpec(label_prompt=(3,), points=(place,), point_labels=(1,))
    clicked, _, _ = predictor.segment(network, [file], asked=click)
    other = InferSpec(label_prompt=(6,), points=(place,), point_labels=(1,))
    alone, _, _ = predictor.segment(network, [file], asked=other)

    assert set(np.unique(clicked)) <= {0, 3}
    assert (clicked != automatic).any()
    assert (clicked[32:] == automatic[32:]).all()
    # What it has not learnt is looked for around the clicks, and 255 (not looked at) is no label.
    assert (alone[32:] == 0).all()
    assert set(np.unique(alone)) == {0, 6}

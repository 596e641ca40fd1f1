"""What a training step asks of a network that takes prompts, and what learns from it."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import pytest
import torch
from monai.apps.vista3d.sampler import sample_prompt_pairs
from monai.losses import DiceCELoss
from torch import Tensor

from configs.kinds import UNLABELLED
from tasks.compute.failures import BundleFaultError
from tasks.compute.loader.channels import Channels
from tasks.compute.loader.config import Bundle, Config
from tasks.compute.loader.network import build_network
from tasks.compute.prompts.learner import PromptLearner, sampler_of
from tasks.compute.prompts.lesson import Lesson, lesson
from tasks.compute.prompts.network import Prompted
from tests.bundles import SIZE, VISTA3D, narrow

LABELS = {1: "liver", 2: "kidney", 5: "right kidney", 7: "my organ"}
LIVER, KIDNEY, LEFT_KIDNEY, RIGHT_KIDNEY, MINE = 1, 2, 14, 5, 133
BY_NAME, BY_CLICKS, BY_BOTH = (0.0, 1.0), (1.0, 0.0), (0.0, 0.0)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return Bundle(narrow(tmp_path_factory.mktemp("bundles") / "vista3d"))


@pytest.fixture
def built(bundle: Bundle) -> tuple[Prompted, Channels]:
    config = bundle.training()
    assert config is not None
    network, channels = build_network(bundle, config, labels=LABELS, weights=None)
    assert isinstance(network, Prompted)
    return network, channels


def patch(regions: Mapping[int, slice]) -> tuple[Tensor, Tensor]:
    """Return an image, and a label with these values in slabs along its first axis."""
    image = torch.rand(1, 1, SIZE, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    label = torch.zeros(1, 1, SIZE, SIZE, SIZE, dtype=torch.long)
    for value, where in regions.items():
        label[0, 0, where] = value
    return image, label


def asked(
    network: Prompted, drops: tuple[float, float], regions: Mapping[int, slice], taught: list[int], seed: int = 0
) -> Lesson:
    torch.manual_seed(seed)
    sampler = partial(sample_prompt_pairs, max_backprompt=None, drop_label_prob=drops[0], drop_point_prob=drops[1])
    found = lesson(network, sampler, *patch(regions), taught)
    assert found is not None
    return found


def learnt(network: Prompted, found: Lesson) -> set[str]:
    """Return which parts of the network have a gradient."""
    network.zero_grad(set_to_none=True)
    DiceCELoss(sigmoid=True)(found.logits, found.truth).backward()
    parts = {
        "encoder": network.image_encoder.encoder,
        "names": network.class_head,
        "clicks": network.point_head,
        "names' decoder": network.image_encoder.up_layers_auto,
        "clicks' decoder": network.image_encoder.up_layers,
    }
    return {name for name, part in parts.items() if any(each.grad is not None for each in part.parameters())}


ORGANS = {LIVER: slice(0, 8), MINE: slice(8, 16)}


@pytest.mark.parametrize(
    ("drops", "parts"),
    [
        (BY_NAME, {"encoder", "names", "names' decoder"}),
        (BY_CLICKS, {"encoder", "clicks", "clicks' decoder"}),
        (BY_BOTH, {"encoder", "names", "clicks", "names' decoder", "clicks' decoder"}),
    ],
)
def test_each_kind_of_prompt_teaches_its_branch_and_the_encoder(
    built: tuple[Prompted, Channels], drops: tuple[float, float], parts: set[str]
) -> None:
    found = asked(built[0], drops, ORGANS, [LIVER, MINE])

    assert found.logits.shape == found.truth.shape == (2, 1, SIZE, SIZE, SIZE)
    assert sorted(found.truth.sum((1, 2, 3, 4)).tolist()) == [8 * SIZE**2] * 2
    assert learnt(built[0], found) == parts


def test_a_class_of_ones_own_learns_and_the_others_keep_what_they_know(built: tuple[Prompted, Channels]) -> None:
    network, _ = built
    learnt(network, asked(network, BY_NAME, ORGANS, [MINE]))

    gradient = network.class_head.class_embeddings.weight.grad
    assert gradient is not None
    assert gradient.abs().sum(1).nonzero().flatten().tolist() == [MINE]


def test_what_the_annotator_did_not_draw_is_not_asked_for(built: tuple[Prompted, Channels]) -> None:
    assert len(asked(built[0], BY_NAME, ORGANS, [LIVER]).truth) == 1
    sampler = partial(sample_prompt_pairs, max_backprompt=None)
    assert lesson(built[0], sampler, *patch(ORGANS), []) is None


def test_a_union_is_taught_through_its_parts_and_takes_no_clicks(built: tuple[Prompted, Channels]) -> None:
    network, _ = built
    kidneys = {KIDNEY: slice(0, 4), RIGHT_KIDNEY: slice(4, 12)}
    found = asked(network, BY_BOTH, kidneys, [KIDNEY, RIGHT_KIDNEY])

    # The annotator's right kidney is kidney, too.
    assert sorted(found.truth.sum((1, 2, 3, 4)).tolist()) == [8 * SIZE**2, 12 * SIZE**2]
    learnt(network, found)
    gradient = network.class_head.class_embeddings.weight.grad
    assert gradient is not None
    assert gradient.abs().sum(1).nonzero().flatten().tolist() == [RIGHT_KIDNEY, LEFT_KIDNEY]
    assert len(asked(network, BY_CLICKS, kidneys, [KIDNEY, RIGHT_KIDNEY]).truth) == 1
    # Clicks are all that was drawn, and there is nothing that could take them: it is asked by name.
    assert learnt(network, asked(network, BY_CLICKS, {KIDNEY: slice(0, 4)}, [KIDNEY])) >= {"names"}


def test_where_nobody_has_looked_nothing_is_right_or_wrong(built: tuple[Prompted, Channels]) -> None:
    network, _ = built
    half = {LIVER: slice(0, 8), UNLABELLED: slice(8, SIZE)}
    for drops in (BY_NAME, BY_CLICKS, BY_BOTH):
        found = asked(network, drops, half, [LIVER])
        assert found.truth[:, :, 8:].sum() == 0
        assert float(found.logits[:, :, 8:].detach().sigmoid().max()) == 0.0
        wrong = found.logits.detach().requires_grad_()
        DiceCELoss(sigmoid=True)(wrong, found.truth).backward()
        assert wrong.grad is not None
        assert float(wrong.grad[:, :, 8:].abs().max()) == 0.0


def test_the_same_step_asks_the_same(built: tuple[Prompted, Channels]) -> None:
    first, again, other = (asked(built[0], (0.5, 0.5), ORGANS, [LIVER, MINE], seed) for seed in (3, 3, 4))
    assert torch.equal(first.logits, again.logits)
    assert first.logits.shape != other.logits.shape or not torch.equal(first.logits, other.logits)


def test_targets_are_channels_and_prompts_are_classes(bundle: Bundle, built: tuple[Prompted, Channels]) -> None:
    network, channels = built
    config = bundle.training({"drop_label_prob": 0, "drop_point_prob": 1})
    assert config is not None
    seen: list[tuple[Tensor, Tensor]] = []

    def loss(logits: Tensor, truth: Tensor) -> Tensor:
        seen.append((logits, truth))
        return logits.sum()

    learner = PromptLearner(
        network, channels, sampler=sampler_of(config), loss=loss, inferers=(None, None), image_key="image"
    )
    image, label = patch({1 + channels.names.index("my organ"): slice(0, 8), UNLABELLED: slice(8, 12)})
    drawn = torch.tensor([channels.drawn(["my organ"])])
    float(learner.judge(image, label.float(), drawn))
    ((logits, truth),) = seen
    assert truth.sum() == 8 * SIZE**2
    assert logits.shape[0] == 1
    assert float(learner.judge(image, label.float(), torch.zeros_like(drawn))) == 0.0


def test_a_bundle_that_does_not_say_how_prompts_are_drawn_is_at_fault(tmp_path: Path) -> None:
    (tmp_path / "train.json").write_text("{}")
    with pytest.raises(BundleFaultError, match="no sampler"):
        sampler_of(Config(tmp_path / "train.json", root=VISTA3D, overrides={}))

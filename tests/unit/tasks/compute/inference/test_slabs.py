"""What is too large to be held as logits is decided, and judged, in slabs: to the same end and in bounded memory."""

import json
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.inferers import Inferer, SlidingWindowInferer
from torch import Tensor, nn

from tasks.compute.failures import NotFiniteError
from tasks.compute.inference.arrangement import Arrangement
from tasks.compute.inference.decide import label_map
from tasks.compute.inference.predictor import Predictor
from tasks.compute.inference.slabs import MOST_VALUES, decide_in_slabs, needs_slabs
from tasks.compute.loader.channels import Channels
from tasks.compute.loader.config import Bundle
from tasks.compute.loader.network import build_network
from tasks.compute.loader.pipeline import DRAWN, LABEL
from tasks.compute.prompts.network import Prompted
from tasks.compute.training.module import Segmenter
from tests.bundles import narrow

ROOT = Path(__file__).parents[5]


def masks(count: int) -> Channels:
    return Channels(tuple(map(str, range(count))), tuple(range(1, count + 1)), exclusive=False, rebuilt=False)


class Windows(nn.Module):
    """A network whose answer to a voxel depends on where in its window it lies, so that means matter."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.weight = torch.randn(features, 1, 3, 3, 3, generator=torch.Generator().manual_seed(0))

    def forward(self, patch: Tensor) -> Tensor:
        return torch.nn.functional.conv3d(patch, self.weight, padding=1)


@pytest.mark.parametrize("shape", [(40, 9, 12), (9, 41, 12), (12, 9, 39), (6, 5, 7), (8, 8, 8), (8, 17, 8)])
@pytest.mark.parametrize("overlap", [0.3, 0.625, 0])
def test_slabs_decide_as_the_whole_answer_does(shape: tuple[int, int, int], overlap: float) -> None:
    image = torch.randn(1, 1, *shape, generator=torch.Generator().manual_seed(1))
    look, mix = Windows(4), torch.randn(5, 4, generator=torch.Generator().manual_seed(2))
    inferer = SlidingWindowInferer(roi_size=(8, 8, 8), sw_batch_size=2, overlap=overlap)

    def tell(features: Tensor) -> Tensor:
        return torch.einsum("cf,bfijk->bcijk", mix, features)

    whole = inferer(image, lambda patch: tell(look(patch)))
    assert isinstance(whole, Tensor)
    decided = decide_in_slabs(inferer, image, look, tell, masks(5), most=12 * 12 * 3 * 5 * 5)
    assert int(decided.max()) > 3
    assert torch.equal(decided, label_map(whole[0], masks(5)))


def validated(network: nn.Module, channels: Channels, batch: dict[str, Tensor], most: int) -> dict[str, float | None]:
    """Return each label's Dice on a case, with so many logits held at once."""
    inferer = SlidingWindowInferer(roi_size=(8, 8, 8), overlap=0.3)
    module = Segmenter(network, channels, loss=nn.MSELoss(), inferers=(inferer, inferer), image_key="image")
    module.most_values = most
    module.on_validation_epoch_start()
    with torch.inference_mode():
        module.validation_step(batch, 0)
    module.on_validation_epoch_end()
    return module.last_per_label


@pytest.mark.parametrize("exclusive", [True, False])
def test_validation_in_slabs_measures_what_it_does_at_once(exclusive: bool) -> None:
    chance = torch.Generator().manual_seed(1)
    channels = Channels(tuple("abcde"), (0, 1, 2, 3, 4) if exclusive else (1, 2, 3, 4, 5), exclusive, rebuilt=False)
    label = torch.randint(0, 6, (1, 1, 9, 41, 12), generator=chance).float()
    label[..., :3, :] = 255
    batch = {"image": torch.randn(label.shape, generator=chance), LABEL: label}
    batch[DRAWN] = torch.tensor([[True, True, True, False, True]])
    whole, cut = (validated(Windows(5), channels, batch, most) for most in (MOST_VALUES, 12 * 12 * 3 * 5 * 5))

    assert whole == pytest.approx(cut)
    assert whole["d"] is None
    assert min(value for value in whole.values() if value is not None) > 0.1


def test_only_what_is_large_is_cut_and_only_where_windows_count_alike() -> None:
    image = torch.empty(1, 1, 333, 333, 603, device="meta")
    plain: Inferer = SlidingWindowInferer(roi_size=128)
    assert needs_slabs(plain, image, masks(117), MOST_VALUES)
    assert not needs_slabs(plain, image, masks(2), MOST_VALUES)
    assert not needs_slabs(SlidingWindowInferer(roi_size=128, mode="gaussian"), image, masks(117), MOST_VALUES)


def test_an_answer_that_is_not_finite_is_refused() -> None:
    inferer = SlidingWindowInferer(roi_size=8)
    with pytest.raises(NotFiniteError):
        decide_in_slabs(
            inferer, torch.full((1, 1, 20, 8, 8), torch.nan), Windows(2), lambda logits: logits, masks(2), most=1000
        )


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return Bundle(narrow(tmp_path_factory.mktemp("bundles") / "vista3d"))


def test_look_and_tell_are_what_vista3d_itself_answers(bundle: Bundle) -> None:
    network, _ = build_network(bundle, bundle.inference(), labels=None, weights=None)
    assert isinstance(network, Prompted)
    patch = torch.rand(2, 1, 32, 32, 32, generator=torch.Generator().manual_seed(0))
    asked = torch.tensor([[1], [133], [57]])
    with torch.inference_mode():
        own = network.eval()(patch, class_vector=asked)
        ours = network(patch, [1, 133, 57])
    assert torch.allclose(own, ours, atol=1e-5)


def test_everything_on_a_large_image_is_what_the_whole_answer_says(bundle: Bundle, tmp_path: Path) -> None:
    network, channels = build_network(bundle, bundle.inference(), labels=None, weights=None)
    file = str(tmp_path / "image.nii")
    image = np.random.default_rng(0).normal(0, 300, (34, 32, 60)).astype(np.float32)
    nib.save(nib.Nifti1Image(image, np.diag([-1.5, -1.5, 1.5, 1])), file)
    config, plain = bundle.inference(), Arrangement()
    whole, _, score = Predictor(bundle, config, channels, cache=None, arrangement=plain).segment(network.eval(), [file])
    predictor = Predictor(bundle, config, channels, cache=None, arrangement=plain, most=1_000_000)
    cut, _, none = predictor.segment(network, [file])

    assert score is not None
    assert none is None
    assert len(np.unique(whole)) > 20
    # Sums in another order: a voxel where two labels are as likely may fall to the other.
    assert (cut != whole).mean() < 1e-4


_PEAK = """
import json, resource, sys, torch
from monai.inferers import SlidingWindowInferer
from tasks.compute.inference.slabs import decide_in_slabs
from tasks.compute.loader.channels import Channels
from tasks.compute.training.module import Segmenter
class Answers(torch.nn.Module):
    def forward(self, patch):
        return patch.expand(-1, 16, -1, -1, -1).clone()
length, labels = int(sys.argv[1]), int(sys.argv[2])
torch.set_num_threads(1)
image = torch.zeros(1, 1, 64, 64, length)
channels = Channels(("x",) * labels, (1,) * labels, exclusive=False, rebuilt=False)
mix = torch.ones(labels, 8)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
with torch.inference_mode():
    inferer = SlidingWindowInferer(roi_size=32, overlap=0.3)
    decide_in_slabs(
        inferer, image, lambda patch: patch.expand(-1, 8, -1, -1, -1).clone(),
        lambda features: torch.einsum("cf,bfijk->bcijk", mix, features), channels, most=50_000_000,
    )
    few = Channels(("x",) * 16, (1,) * 16, exclusive=False, rebuilt=False)
    learner = Segmenter(Answers(), few, loss=None, inferers=(inferer, inferer), image_key="image")
    learner.most_values = 5_000_000
    learner.on_validation_epoch_start()
    learner.validation_step({"image": image, "label": image, "drawn": torch.ones(1, 16)}, 0)
print(json.dumps((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024))
"""


def peak_mib(length: int, labels: int) -> float:
    """Return what a process of its own takes for it beyond its start, in MiB."""
    argv = [sys.executable, "-c", _PEAK, str(length), str(labels)]
    done = subprocess.run(argv, capture_output=True, text=True, check=True, cwd=ROOT)
    return float(json.loads(done.stdout))


def test_memory_does_not_grow_with_the_image_and_stays_far_below_all_logits() -> None:
    lengths = (320, 1280)
    peaks = [peak_mib(length, 117) for length in lengths]
    whole_mib = [117 * 64 * 64 * length * 4 / 2**20 for length in lengths]
    # The image itself and its labels are in it; the logits of 1280 planes would be 2,340 MiB.
    assert all(second - first < 100 for first, second in pairwise(peaks)), peaks
    assert peaks[-1] < whole_mib[-1] / 4, (peaks, whole_mib)

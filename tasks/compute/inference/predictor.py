"""A bundle's inference: from an image file to a label map on that image's own grid, to its class, or to boxes."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.inferers import Inferer, SimpleInferer, SlidingWindowInferer
from monai.transforms import Activationsd, AsDiscreted, Compose, EnsureTyped, Invertd
from torch import Tensor, nn

from configs.specs.infer import InferSpec
from configs.wire.answers import BoxesAnswer
from tasks.compute.boxes.detector import Detector, undecided
from tasks.compute.failures import BadInputError, BundleFaultError, preparing
from tasks.compute.inference.answers import LabelMap, Structured
from tasks.compute.inference.arrangement import Arrangement, agree, decisions
from tasks.compute.inference.classes import class_answer
from tasks.compute.inference.decide import label_map
from tasks.compute.inference.grid import Grid, Labels, resample_labels
from tasks.compute.inference.slabs import (
    MOST_VALUES,
    Tell,
    as_it_is,
    decide_in_slabs,
    halves,
    needs_slabs,
    require_finite,
)
from tasks.compute.loader.channels import Channels
from tasks.compute.loader.config import INFERER, POSTPROCESSING, PREPROCESSING, Bundle, Config, device
from tasks.compute.loader.inputs import check_axes, check_channels
from tasks.compute.loader.network import first_tensor
from tasks.compute.loader.pictures import read_pictures
from tasks.compute.loader.tensors import Item, TensorCache
from tasks.compute.prompts.network import Prompted
from tasks.compute.prompts.question import Question, question_of
from tasks.compute.scoring.entropy import class_entropy, mean_entropy
from tasks.compute.share import give_way

# On CPUs a single window takes PyTorch's slow convolution; two share the fast one.
_WINDOWS_AT_ONCE = 2
_PLAIN = (Activationsd, AsDiscreted, EnsureTyped, Invertd)
_TRIALS = 4
"""Calls of the network, at most, in which half precision is compared with float32: until there is something to see."""
PREDICTION = "pred"
_EVERYTHING = InferSpec()


class Predictor:
    """Predicts with any version of a bundle's network.

    Args:
        bundle: The bundle.
        config: Its inference configuration, from which the network was built too.
        channels: What the network's channels stand for.
        cache: Folder of preprocessed images; None = in memory only.
        arrangement: How the network is run.
        inferer: How it is applied to an image; None = as the configuration says.
        most: Logits that are held at once; larger answers are decided in slabs.
    """

    def __init__(
        self,
        bundle: Bundle,
        config: Config,
        channels: Channels,
        *,
        cache: Path | None,
        arrangement: Arrangement,
        inferer: Inferer | None = None,
        most: int = MOST_VALUES,
    ) -> None:
        self._most = most
        self._key = bundle.metadata.image_key
        self._inputs = bundle.metadata.image.num_channels or 1
        self._channels = channels
        self._arrangement = arrangement
        self._trials = _TRIALS if arrangement.half else 0
        preprocessing = config.build(*PREPROCESSING)
        if not isinstance(preprocessing, Compose):
            raise BundleFaultError("The bundle's inference configuration has no preprocessing")
        read_pictures(preprocessing, bundle.metadata.image.num_channels or 1)
        self._preprocessing = preprocessing
        self._cache = TensorCache(cache, config.recipe(*PREPROCESSING))
        self._detector = Detector(config, channels) if channels.kind == "boxes" else None
        self._inferer: Inferer = inferer or config.build(*INFERER) or SimpleInferer()
        if isinstance(self._inferer, SlidingWindowInferer):
            self._inferer.sw_batch_size = max(self._inferer.sw_batch_size, _WINDOWS_AT_ONCE)
        after = config.build(*POSTPROCESSING)
        steps = list(after.flatten().transforms) if isinstance(after, Compose) else []
        # Anything beyond softmax, threshold and inversion, such as keeping the largest component, is run as it is.
        self._after = Compose(steps) if any(not isinstance(step, _PLAIN) for step in steps) else None

    def keep_later(self) -> None:
        """From now on write preprocessed images to the cache when `keep` is called, and not before they are used."""
        self._cache.keep_later = True

    def keep(self) -> None:
        """Write what was preprocessed since the last call to the cache."""
        self._cache.keep()

    def one_window_at_a_time(self) -> None:
        """Take as little memory as the bundle's inference can do with."""
        if isinstance(self._inferer, SlidingWindowInferer):
            self._inferer.sw_batch_size = 1

    def prepare(self, image: Sequence[str]) -> Tensor:
        """Return the preprocessed image, shape (channel, i, j, k), a MetaTensor on the CPU.

        Raises:
            UnreadableError: If the file cannot be read as an image, or has another number of channels or axes.
        """
        data: Any = image[0] if len(image) == 1 else list(image)

        def make() -> Item:
            """Prepare the image as the bundle says."""
            return {self._key: self._preprocessing({self._key: data})[self._key]}

        with preparing("The image"):
            tensor: Tensor = self._cache.get(image, make)[self._key]
        check_channels(tensor, self._inputs)
        check_axes(tensor, self._inferer)
        return tensor

    def answer(
        self,
        network: nn.Module,
        image: Tensor,
        *,
        between: Callable[[], None] | None = None,
        question: Question | None = None,
    ) -> Tensor:
        """Return logits of shape (channel, i, j, k), float32, on the preprocessed grid.

        Args:
            network: The network of one version, in evaluation mode.
            image: What `prepare` returned.
            between: Called before each window; others may run meanwhile. Default: lets live requests of this device
                go first, where this host was told to.
            question: What the network is asked, where it takes prompts; None = its channels.

        Raises:
            NotFiniteError: If a logit is NaN or infinite.
        """
        window, given = self._window(network, between), _one(image)
        with torch.inference_mode():
            answered = question.ask(self._inferer, given, window) if question else self._inferer(given, window)
            logits = first_tensor(answered)[0].float()
        require_finite(logits)
        return logits

    def decide(
        self,
        network: nn.Module,
        image: Tensor,
        *,
        between: Callable[[], None] | None = None,
        question: Question | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """Return the label index per voxel of the preprocessed grid, uint8, and the logits that it was decided by.

        Logits that would be too large to be held are decided in slabs, and not returned. Arguments and errors as of
        `answer`.
        """
        channels, given = question.channels if question else self._channels, _one(image)
        if (question and question.clicks) or not needs_slabs(self._inferer, given, channels, self._most):
            logits = self.answer(network, image, between=between, question=question)
            return label_map(logits, channels), logits
        look, tell = halves(network, question.classes if question else None)
        with torch.inference_mode():
            window = self._window(look, between, tell)
            return decide_in_slabs(self._inferer, given, window, tell, channels, most=self._most), None

    def _window(
        self, network: Callable[..., object], between: Callable[[], None] | None, tell: Tell = as_it_is
    ) -> Callable[..., Tensor]:
        """Return what predicts one window, once live requests or whoever else asked have been let through."""

        def window(patch: Tensor, *args: Any, **kwargs: Any) -> Tensor:
            """Predict one window."""
            (between or give_way)()

            def run(given: Tensor) -> object:
                """Run the network with what the inferer gives it besides the patch."""
                return network(given, *args, **kwargs)

            answer = self._arrangement.run(run, patch)
            return self._proven(run, patch, answer, tell) if self._trials else answer

        return window

    def _proven(self, run: Callable[[Tensor], object], patch: Tensor, answer: Tensor, tell: Tell) -> Tensor:
        """Compare with float32, which this predictor goes on with where they differ.

        The arrangement was chosen on noise; only what is real, and has something in it, shows what it changes.
        """
        exact = replace(self._arrangement, half=False)
        truth = exact.run(run, patch)
        decided = decisions(tell(truth))
        if not agree(decisions(tell(answer)), decided):
            self._arrangement, self._trials = exact, 0
            return truth
        self._trials = 0 if bool((decided > 0).any()) else self._trials - 1
        return answer

    def predict(
        self,
        network: nn.Module,
        image: Sequence[str],
        *,
        between: Callable[[], None] | None = None,
        asked: InferSpec = _EVERYTHING,
        scored: bool = True,
    ) -> LabelMap | Structured:
        """Return what the network says of an image, in whichever kind it answers.

        Args: as of `segment`.

        Raises:
            BadInputError: If there are clicks and the network takes none; or as `segment`.
        """
        if not isinstance(network, Prompted) and (asked.points or asked.point_labels):
            raise BadInputError("This model takes no clicks: ask without points")
        if self._detector is not None:
            found = self.boxes(network, image, between=between)
            return Structured(found, undecided(found))
        if self._channels.kind == "class":
            logits = self.answer(network, self.prepare(image), between=between)
            return Structured(class_answer(logits, self._channels), class_entropy(logits, self._channels))
        return LabelMap(*self.segment(network, image, between=between, asked=asked, scored=scored))

    def boxes(
        self, network: nn.Module, image: Sequence[str], *, between: Callable[[], None] | None = None
    ) -> BoxesAnswer:
        """Return what the bundle's detector finds; args as of `segment`.

        Raises:
            BundleFaultError: If it has none.
        """
        if self._detector is None:
            raise BundleFaultError("The bundle has no detector: it finds no boxes")
        return self._detector.find(network, self.prepare(image), between=between)

    def segment(
        self,
        network: nn.Module,
        image: Sequence[str],
        *,
        between: Callable[[], None] | None = None,
        asked: InferSpec = _EVERYTHING,
        scored: bool = True,
    ) -> tuple[Labels, Grid, float | None]:
        """Return the label map on the image's own grid, that grid, and the mean entropy of the decision.

        Args:
            network: The network of one version, in evaluation mode.
            image: File, or one file per channel.
            between: See `answer`.
            asked: What the request wants: labels, and clicks where the network takes them.
            scored: Whether the entropy is wanted.

        Raises:
            BadInputError: If the network takes prompts, and these are none.
        """
        prepared = self.prepare(image)
        grid = own_grid(prepared)
        affine = np.asarray(prepared.affine, dtype=np.float64)  # type: ignore[attr-defined]  # own_grid saw to it
        channels, question = self._channels, None
        if isinstance(network, Prompted):
            question = question_of(network, channels, asked, Grid(tuple(prepared.shape[1:]), affine), grid)
            channels = question.channels
        if self._after is not None and not channels.nested:
            logits = self.answer(network, prepared, between=between, question=question)
            score = self._entropy(logits, label_map(logits, channels), channels) if scored else None
            labels = _as_volume(self._by_bundle(image, logits))
        else:
            decided, held = self.decide(network, prepared, between=between, question=question)
            score = self._entropy(held, decided, channels) if scored and held is not None else None
            labels = resample_labels(_as_volume(decided.cpu().numpy()), affine, grid)
        if asked.label_prompt:
            labels[~np.isin(labels, asked.label_prompt)] = 0
        return labels, grid, score

    def _entropy(self, logits: Tensor, decided: Tensor, channels: Channels) -> float | None:
        """Return the mean entropy of a decision; None where it would take too much memory."""
        if logits.numel() > self._most:
            return None
        return mean_entropy(logits, decided > 0, exclusive=channels.exclusive)

    def _by_bundle(self, image: Sequence[str], logits: Tensor) -> Labels:
        """Return labels after the bundle's own postprocessing, which inverts the very transforms that ran."""
        data: Any = image[0] if len(image) == 1 else list(image)
        item = self._preprocessing({self._key: data})
        item[PREDICTION] = MetaTensor(logits, meta=item[self._key].meta)
        item[PREDICTION].applied_operations = item[self._key].applied_operations
        result = self._after(item)[PREDICTION] if self._after else logits
        if result.shape[0] == 1 and self._channels.exclusive:
            table = torch.tensor(self._channels.labels, dtype=torch.uint8)
            return table[result[0].long().cpu()].numpy()
        return label_map(result.float().cpu() - 0.5, self._channels).numpy()


def _one(image: Tensor) -> Tensor:
    """Return an image as a batch of one on the device, without its bookkeeping."""
    plain = image.as_tensor() if isinstance(image, MetaTensor) else image
    return plain[None].to(device())


def _as_volume(labels: Labels) -> Labels:
    """Return a picture's labels as those of a volume of one slice."""
    return labels.reshape((*labels.shape, 1)[:3])


def own_grid(prepared: Tensor) -> Grid:
    """Return the grid that the image had in its file; a picture is a volume of one slice.

    Raises:
        BundleFaultError: If the bundle's transforms do not keep track of it.
    """
    if not isinstance(prepared, MetaTensor) or "original_affine" not in prepared.meta:
        raise BundleFaultError("The bundle's preprocessing loses the image's geometry (no MetaTensor)")
    shape = tuple(int(extent) for extent in prepared.meta["spatial_shape"])
    return Grid((*shape, 1)[:3], np.asarray(prepared.meta["original_affine"], dtype=np.float64))

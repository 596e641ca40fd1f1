"""The work of a prediction without anything around it: what the time of a call is compared with."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from monai.inferers import SlidingWindowInferer
from numpy.typing import NDArray
from torch import Tensor, nn

from tasks.compute.inference.arrangement import Arrangement
from tasks.compute.loader.config import Bundle
from tests.bench import unet

_OVERLAP, _BATCH = 0.5, 4


class Timed(NamedTuple):
    """The seconds of decoding with the bundle's transforms, and of the network; deciding is in neither."""

    prepare_s: float
    network_s: float


class Bare:
    """The trained network in this process, and the bundle's own transforms.

    Args:
        bundle: The bench's bundle.
        network: Trained.
        best: How the slot that it is compared with runs the network; another choice would be compared, too.
    """

    def __init__(self, bundle: Path, network: nn.Module, best: Arrangement) -> None:
        self._preprocessing: Any = Bundle(bundle).inference().build("preprocessing")
        self.best = best
        self._fitted = self.best.fit(network)

    def run(self, image: Path) -> Timed:
        """Decode, transform, and run the network as it is run fastest."""
        start = time.perf_counter()
        prepared = self._preprocessing({"image": str(image)})["image"].as_tensor()
        between = time.perf_counter()
        self.forward(prepared)
        return Timed(between - start, time.perf_counter() - between)

    def forward(self, prepared: Tensor) -> Tensor:
        """Return the logits of the network at its best, shape (channel, i, j, k)."""
        return _logits(prepared, _BATCH, lambda patch: self.best.run(self._fitted, patch))


def naive(network: nn.Module, prepared: Tensor) -> Tensor:
    """Return the logits of the network as one would first write it: float32, one window at a time."""
    return _logits(prepared, 1, network)


def _logits(prepared: Tensor, batch: int, network: Callable[[Tensor], Tensor]) -> Tensor:
    inferer = SlidingWindowInferer(roi_size=unet.WINDOW, sw_batch_size=batch, overlap=_OVERLAP)
    with torch.inference_mode():
        logits: Tensor = inferer(prepared[None], network)[0]
    return logits


def dice(logits: Tensor, truth: NDArray[np.uint8]) -> float:
    """Return the Dice coefficient of what two channels' logits decide and a mask that is not empty, 0..1."""
    decision = (logits[1] > logits[0]).numpy()
    return float(2 * np.sum(decision & truth) / (decision.sum() + truth.sum()))

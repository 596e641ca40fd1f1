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

from tasks.compute.inference.arrangement import fastest
from tasks.compute.loader.config import Bundle
from tests.bench import unet

_OVERLAP, _BATCH = 0.5, 4


class Timed(NamedTuple):
    """A decision per voxel, and the seconds of decoding with the bundle's transforms, and of the network."""

    decision: NDArray[np.uint8]
    prepare_s: float
    network_s: float


class Bare:
    """The trained network in this process, and the bundle's own transforms.

    Args:
        bundle: The bench's bundle.
        network: Trained.
    """

    def __init__(self, bundle: Path, network: nn.Module) -> None:
        self._network = network
        self._preprocessing: Any = Bundle(bundle).inference().build("preprocessing")
        self.best = fastest(network, torch.randn(1, 1, *unet.WINDOW))
        self._fitted = self.best.fit(network)

    def run(self, image: Path) -> Timed:
        """Decode, transform, and run the network as it is run fastest."""
        start = time.perf_counter()
        prepared = self._preprocessing({"image": str(image)})["image"].as_tensor()
        between = time.perf_counter()
        decision = self.forward(prepared)
        return Timed(decision, between - start, time.perf_counter() - between)

    def forward(self, prepared: Tensor) -> NDArray[np.uint8]:
        """Return the decision of the network at its best."""
        return _decide(prepared, _BATCH, lambda patch: self.best.run(self._fitted, patch))


def naive(network: nn.Module, prepared: Tensor) -> NDArray[np.uint8]:
    """Return the decision of the network as one would first write it: float32, one window at a time."""
    return _decide(prepared, 1, network)


def _decide(prepared: Tensor, batch: int, network: Callable[[Tensor], Tensor]) -> NDArray[np.uint8]:
    inferer = SlidingWindowInferer(roi_size=unet.WINDOW, sw_batch_size=batch, overlap=_OVERLAP)
    with torch.inference_mode():
        logits = inferer(prepared[None], network)
    decision: NDArray[np.uint8] = logits[0].argmax(0).to(torch.uint8).numpy()
    return decision


def dice(decision: NDArray[np.uint8], truth: NDArray[np.uint8]) -> float:
    """Return the Dice coefficient of two masks that are not empty, 0..1."""
    return float(2 * np.sum(decision & truth) / (decision.sum() + truth.sum()))

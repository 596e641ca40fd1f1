"""How a network is run: number format and memory layout, the fastest that decides alike."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tasks.compute.loader.network import first_tensor

_AGREEMENT = 0.998
_WORTH_TRYING_S = 0.25


@dataclass(frozen=True)
class Arrangement:
    """One way to run a network.

    Attributes:
        channels_last: Memory layout of weights and images.
        half: bfloat16 where PyTorch finds it safe.
    """

    channels_last: bool = False
    half: bool = False

    def __str__(self) -> str:
        """Return it in words."""
        return f"{'bfloat16' if self.half else 'float32'}{', channels last' if self.channels_last else ''}"

    def fit(self, network: nn.Module) -> nn.Module:
        """Return the network ready to predict, its weights laid out."""
        network.eval()
        return network.to(memory_format=torch.channels_last_3d) if self.channels_last else network  # type: ignore[call-overload]  # PyTorch's stubs know no 3-D layout here

    def run(self, network: Callable[[Tensor], object], patch: Tensor) -> Tensor:
        """Return the network's answer to a patch of shape (batch, channel, i, j, k), float32."""
        if self.channels_last and patch.dim() == 5:  # noqa: PLR2004 (three spatial axes)
            patch = patch.contiguous(memory_format=torch.channels_last_3d)
        context: AbstractContextManager[object] = nullcontext()
        if self.half:
            context = torch.autocast(patch.device.type, dtype=torch.bfloat16)
        with context:
            return first_tensor(network(patch)).float()


def fastest(network: nn.Module, example: Tensor) -> Arrangement:
    """Return the fastest arrangement whose decisions agree with plain float32 on at least 99.8 % of voxels.

    Networks that are fast anyway are not tried: trying costs more than it can win.

    Args:
        network: The network with trained weights; its layout is changed while trying.
        example: A patch of shape (1, channel, i, j, k) such as the network meets.
    """
    if example.dim() != 5:  # noqa: PLR2004 (three spatial axes)
        return Arrangement()
    # Two windows, as the predictor takes them: for a single one PyTorch chooses another convolution.
    batch = torch.cat([example, example])
    plain = Arrangement()
    truth, best_s = _decide(plain, network, batch)
    best = plain
    if best_s < _WORTH_TRYING_S:
        return plain
    for candidate in (Arrangement(channels_last=True), Arrangement(channels_last=True, half=True)):
        decision, seconds = _decide(candidate, network, batch)
        agreement = float((decision == truth).float().mean())
        # By a tenth at least: two runs of the same arrangement may differ by as much.
        if agreement >= _AGREEMENT and seconds < 0.9 * best_s:
            best, best_s = candidate, seconds
    network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]  # as above
    return best


def _decide(arrangement: Arrangement, network: nn.Module, batch: Tensor) -> tuple[Tensor, float]:
    """Return the decision per voxel and the seconds of the second run."""
    fitted = arrangement.fit(network)
    with torch.inference_mode():
        # The first run also allocates and chooses kernels.
        arrangement.run(fitted, batch)
        start = time.perf_counter()
        logits = arrangement.run(fitted, batch)
        seconds = time.perf_counter() - start
    return (logits.argmax(1) if logits.shape[1] > 1 else logits > 0), seconds


def _cuda_clock() -> float:
    """Return the time at which everything has run that was begun: CUDA's calls return before their work is done."""
    torch.cuda.synchronize()
    return time.perf_counter()

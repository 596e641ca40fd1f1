"""How a network is run: number format and memory layout, the fastest that decides alike."""

import copy
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from tasks.compute.inference.decide import winners
from tasks.compute.inference.phases import by_phases, replaceable
from tasks.compute.loader.network import first_tensor

_AGREEMENT = 0.998
_SAME_DICE = 0.99
_ENOUGH_VOXELS = 1000
_WORTH_TRYING_FLOPS = 4e9
_TIMED = 2


@dataclass(frozen=True)
class Arrangement:
    """One way to run a network.

    Attributes:
        channels_last: Memory layout of weights and images.
        half: bfloat16 where PyTorch finds it safe.
        phases: Transposed convolutions into few channels as ordinary ones.
    """

    channels_last: bool = False
    half: bool = False
    phases: bool = False

    def __str__(self) -> str:
        """Return it in words."""
        words = ["bfloat16" if self.half else "float32", self.channels_last and "channels last"]
        return ", ".join(word for word in [*words, self.phases and "upsampling by phases"] if word)

    def fit(self, network: nn.Module) -> nn.Module:
        """Return the network ready to predict, its weights laid out; some of its layers may be replaced."""
        network.eval()
        if self.phases:
            by_phases(network)
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
    """Return the fastest arrangement whose decisions agree with plain float32.

    Networks with little to compute are not tried: trying costs more than it can win.

    Args:
        network: The network with trained weights.
        example: A patch of shape (1, channel, i, j, k) such as the network meets.
    """
    if example.dim() != 5:  # noqa: PLR2004 (three spatial axes)
        return Arrangement()
    best = Arrangement()
    # By work and not by time: on a machine that is busy at the moment a small network must not be run otherwise.
    if _flops(best.fit(network), example) < _WORTH_TRYING_FLOPS:
        return best
    # Two windows, as the predictor takes them: for a single one PyTorch chooses another convolution.
    batch = torch.cat([example, example])
    truth, best_s = _decide(best, network, batch)
    candidates = [Arrangement(channels_last=True), Arrangement(channels_last=True, half=True)]
    if any(replaceable(network)):
        candidates.append(Arrangement(channels_last=True, half=True, phases=True))
    for candidate in candidates:
        decision, seconds = _decide(candidate, copy.deepcopy(network), batch)
        # By a tenth at least: two runs of the same arrangement may differ by as much.
        if seconds < 0.9 * best_s and agree(decision, truth):
            best, best_s = candidate, seconds
    return best


def decisions(logits: Tensor) -> Tensor:
    """Return what is decided per voxel from logits of shape (batch, channel, i, j, k): a channel, or a mask."""
    return winners(logits.transpose(0, 1)) if logits.shape[1] > 1 else logits[:, 0] > 0


def agree(decided: Tensor, truth: Tensor) -> bool:
    """Say whether two decisions are as good as the same: in voxels, and in Dice of each channel but the first.

    Differences lie on borders and go both ways, so that a Dice of 0.99 between them is far below 0.002 in the Dice of
    either with an annotator's label. Channels with few voxels in *truth* are not judged: one voxel is too much there.
    """
    if float((decided == truth).float().mean()) < _AGREEMENT:
        return False
    for channel in range(1, int(truth.max()) + 1):
        here, there = decided == channel, truth == channel
        voxels = int(there.sum())
        if voxels >= _ENOUGH_VOXELS and 2 * int((here & there).sum()) < _SAME_DICE * (int(here.sum()) + voxels):
            return False
    return True


def _flops(network: nn.Module, example: Tensor) -> int:
    """Return the floating-point operations of one run."""
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        network(example)
    return int(counter.get_total_flops())


def _decide(arrangement: Arrangement, network: nn.Module, batch: Tensor) -> tuple[Tensor, float]:
    """Return the decision per voxel and the seconds of a run: of the processor, which others cannot take."""
    clock = _cuda_clock if batch.is_cuda else time.process_time
    fitted = arrangement.fit(network)
    with torch.inference_mode():
        # The first run also allocates and chooses kernels.
        logits = arrangement.run(fitted, batch)
        moments = [clock()]
        for _ in range(_TIMED):
            arrangement.run(fitted, batch)
            moments.append(clock())
    return decisions(logits), min(end - start for start, end in pairwise(moments))


def _cuda_clock() -> float:
    """Return the time at which everything has run that was begun: CUDA's calls return before their work is done."""
    torch.cuda.synchronize()
    return time.perf_counter()

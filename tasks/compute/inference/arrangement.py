"""How a network is run: number format and memory layout, the fastest that decides alike."""

import copy
import math
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from tasks.compute.inference.decide import winners
from tasks.compute.inference.folded import fold_norms
from tasks.compute.inference.phases import by_phases, replaceable
from tasks.compute.loader.network import first_tensor

_AGREEMENT = 0.998
_SAME_DICE = 0.99
# Of a smaller channel a few voxels on its border are a hundredth of Dice already.
_ENOUGH_VOXELS = 1000
_WORTH_TRYING_FLOPS = 4e9
# The least of several: what else the machine does only ever makes a run longer.
_TURNS = 4
_HOPELESS = 1.5  # as long as the best so far: such a one is run no more


@dataclass(frozen=True)
class Arrangement:
    """One way to run a network.

    Attributes:
        channels_last: Memory layout of weights and images; batch norms are part of the convolutions before them.
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
        if self.channels_last:
            fold_norms(network)
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

    Networks with little to compute are not tried: trying costs more than it can win. The others' times are the least of
    several runs in turns, so that what else the machine does meanwhile meets all of them alike.

    Args:
        network: The network with trained weights.
        example: A patch of shape (1, channel, i, j, k) such as the network meets.
    """
    plain = Arrangement()
    if example.dim() != 5:  # noqa: PLR2004 (three spatial axes)
        return plain
    # By work and not by time: on a machine that is busy at the moment a small network must not be run otherwise.
    if _flops(plain.fit(network), example) < _WORTH_TRYING_FLOPS:
        return plain
    with _one_thread():
        return _least(network, torch.cat([example, example]))


def _least(network: nn.Module, batch: Tensor) -> Arrangement:
    """Return the arrangement that takes the least time, of those that decide as plain float32 does.

    Args:
        network: As of `fastest`.
        batch: Two windows, as the predictor takes them: for a single one PyTorch chooses another convolution.
    """
    plain = Arrangement()
    # These runs also allocate, and choose kernels: their time is not taken.
    truth = decisions(_run(plain, network, batch)[0])
    left = [each for each in _others(network) if agree(decisions(_run(each, network, batch)[0]), truth)]
    left = [plain, *left]
    least: dict[Arrangement, float] = {}
    for _ in range(_TURNS):
        for each in left:
            least[each] = min(_run(each, network, batch)[1], least.get(each, math.inf))
        best = min(left, key=lambda each: least[each])
        left = [each for each in left if least[each] < _HOPELESS * least[best]]
    return best


@contextmanager
def _one_thread() -> Iterator[None]:
    """Compute in one thread for a while.

    Several wait for each other by asking again and again: on a busy machine that takes longer than the work.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _others(network: nn.Module) -> list[Arrangement]:
    """Return what else a network may be run as."""
    phases = [False, True] if any(replaceable(network)) else [False]
    return [Arrangement(channels_last=True, half=half, phases=phase) for half, phase in product([False, True], phases)]


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


def _run(arrangement: Arrangement, network: nn.Module, batch: Tensor) -> tuple[Tensor, float]:
    """Return the logits, and the seconds of a run: of the processor, which others cannot take."""
    clock = _cuda_clock if batch.is_cuda else time.thread_time
    # A copy for each run: copies of all at once would take a large network's memory several times.
    fitted = arrangement.fit(copy.deepcopy(network))
    with torch.inference_mode():
        start = clock()
        logits = arrangement.run(fitted, batch)
        return logits, clock() - start


def _cuda_clock() -> float:
    """Return the time at which everything has run that was begun: CUDA's calls return before their work is done."""
    torch.cuda.synchronize()
    return time.perf_counter()

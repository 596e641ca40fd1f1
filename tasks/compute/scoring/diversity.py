r"""Diversity: images that are unlike everything labelled, by k-centre over embeddings. It needs no trained model.

An image's embedding is what the network's coarsest layer says of it, averaged over positions; of a network that never
becomes coarser than its input, the square roots of its intensities' histogram, whose distance is Hellinger's.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from configs.wire.host import ScoredBy
from tasks.compute.scoring.subject import Beside, Floats, Scored, Subject

CENTRES = 1000
"""Images that are chosen one by one; the rest is ordered by its distance from these."""
SIZE = 128
"""Numbers of an embedding, at most: half a megabyte for a thousand images."""
_AT_ONCE = 64
_BINS, _REACH = 32, 3.0


def diversity(subject: Subject) -> Scored:
    """Return an image's embedding, of length 1; it is scored beside others, by `k_centre`."""
    found = _encoded(subject)
    by: ScoredBy = "histogram" if found is None else "encoder"
    found = _histogram(subject.image) if found is None else found
    return Scored(None, by, tuple(nn.functional.normalize(found, dim=0).tolist()))


def k_centre(images: Beside) -> Floats:
    r"""Return half of each image's distance from the nearest image before it, 0..1 for embeddings of length 1.

    Greedy: $$\arg\max_i \min_{j \in S} \lVert x_i - x_j \rVert$$ joins the centres $$S$$, which are the taken images in
    the beginning; without any, the image nearest to the mean. Distances only fall, so they order the images as they
    were chosen. The largest distance is at most twice the smallest that is possible with as many centres.

    Of n images, t of them taken, it takes time for n (t + `CENTRES`) distances and memory for `_AT_ONCE` n.

    Source:
        Gonzalez, "Clustering to minimize the maximum intercluster distance", Theoretical Computer Science 38, 1985; for
        choosing what to label: Sener and Savarese, "Active Learning for Convolutional Neural Networks: A Core-Set
        Approach", ICLR 2018.
    """
    points = images.features
    squared = (points * points).sum(1)
    nearest = np.full(len(points), np.inf, dtype=np.float32)

    def add(centres: NDArray[np.intp]) -> None:
        """Let some more images be centres; many at once take a fifth of the time."""
        away = (points @ (-2 * points[centres].T) + squared[centres]).min(1) + squared
        np.minimum(nearest, np.maximum(away, 0), out=nearest)

    taken = np.flatnonzero(images.taken)
    for first in range(0, len(taken), _AT_ONCE):
        add(taken[first : first + _AT_ONCE])
    scores = np.zeros(len(points), dtype=np.float32)
    free = ~images.taken
    for _ in range(min(CENTRES, int(free.sum()))):
        best = int(np.argmax(np.where(free, nearest, -1)))
        if np.isinf(nearest[best]):  # nothing is taken: begin in the middle, not at an outlier
            away = ((points - points.mean(0)) ** 2).sum(1)
            best = int(np.argmin(away))
            scores[best] = 1
        else:
            scores[best] = np.sqrt(nearest[best]) / 2
        free[best] = False
        add(np.array([best]))
    scores[free] = np.sqrt(nearest[free]) / 2
    return scores


def _encoded(subject: Subject) -> Tensor | None:
    """Return what the coarsest layer says, averaged over positions and windows; None where none is coarser."""
    coarsest = _Coarsest(subject.image.dim() - 1)
    layers = [layer for layer in subject.network.modules() if not [*layer.children()]]
    hooks = [layer.register_forward_hook(coarsest.hear) for layer in layers]
    try:
        subject.answer(subject.image)
    finally:
        for hook in hooks:
            hook.remove()
    mean = coarsest.mean()
    if mean is None or len(mean) <= SIZE:
        return mean
    # Distances survive a random projection (Johnson and Lindenstrauss, 1984); the same one for every image.
    draw = torch.randn(SIZE, len(mean), generator=torch.Generator().manual_seed(0)) / SIZE**0.5
    projected: Tensor = draw @ mean
    return projected


class _Coarsest:
    """Hears every layer, and sums up what the coarsest says; of layers that are as coarse the last one counts."""

    def __init__(self, axes: int) -> None:
        self._axes = axes
        self._said: dict[nn.Module, tuple[int, Tensor]] = {}
        self._fewest = self._most = 0

    def hear(self, layer: nn.Module, _given: object, answer: object) -> None:
        """Take one layer's answer for a batch of windows: (window, channel, i, j, k)."""
        if not isinstance(answer, Tensor) or answer.dim() != self._axes + 2:
            return
        positions = answer.shape[2:].numel()
        self._most, self._fewest = max(self._most, positions), min(self._fewest or positions, positions)
        # A network comes to its coarsest layer within the first window; from the second on only that is summed up.
        if positions == self._fewest:
            count, total = self._said.get(layer, (0, torch.zeros(())))
            self._said[layer] = count + len(answer), total + answer.flatten(2).mean(2).sum(0).float().cpu()

    def mean(self) -> Tensor | None:
        """Return the mean over windows; None where no layer is coarser than another."""
        if self._fewest == self._most:
            return None
        count, total = list(self._said.values())[-1]
        return total / count


def _histogram(image: Tensor) -> Tensor:
    """Return the square roots of each channel's shares of voxels in 32 bins between -3 and 3 standard deviations."""
    shares = []
    for channel in image.as_subclass(Tensor).float():
        spread = (channel - channel.mean()) / channel.std().clamp_min(1e-6)
        counts = torch.histc(spread.clamp(-_REACH, _REACH), bins=_BINS, min=-_REACH, max=_REACH)
        shares.append((counts / counts.sum()).sqrt())
    return torch.cat(shares)[:SIZE]

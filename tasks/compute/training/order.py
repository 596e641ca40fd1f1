"""Which case comes when, and with which randomness: a function of seed and epoch alone."""

from collections.abc import Iterator

import torch
from torch.utils.data import Sampler

from tasks.compute.loader.pipeline import Draw

# More than there are epochs, or cases in one: no two of them share a seed.
_EPOCHS = 1_000_003


class EpochOrder(Sampler[Draw]):
    """The cases of one rank, epoch by epoch, each with the seed of its random transforms.

    So an epoch that is repeated after a crash is repeated exactly, and one that was left in its middle goes on there.

    Args:
        count: Number of cases.
        seed: Of the whole training.
        begin: Epoch to begin with, and the cases of it that were drawn already, over all ranks.
        rank: This process, and the number of processes that share the cases.
    """

    def __init__(
        self, count: int, *, seed: int, begin: tuple[int, int] = (0, 0), rank: tuple[int, int] = (0, 1)
    ) -> None:
        self._count = count
        self._seed = seed
        self._begin = begin
        self._epoch = begin[0]
        self._left = count - begin[1]
        self._rank, self._ranks = rank

    def __len__(self) -> int:
        """Return the number of this rank's cases in the epoch that comes."""
        return (self._left + self._ranks - 1) // self._ranks

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch comes; Lightning does, before each."""
        self._epoch = epoch

    def __iter__(self) -> Iterator[Draw]:
        """Yield the cases of one epoch; every rank yields as many, so the last few may come twice."""
        seed = self._seed * _EPOCHS + self._epoch
        order = torch.randperm(self._count, generator=torch.Generator().manual_seed(seed)).tolist()
        first, drawn = self._begin
        left = list(enumerate(order))[drawn if self._epoch == first else 0 :]
        self._left = self._count  # Lightning asks for the next epoch's length before it says that it comes
        left += left[: -len(left) % self._ranks]
        for place, case in left[self._rank :: self._ranks]:
            yield Draw(case, seed * _EPOCHS + place)

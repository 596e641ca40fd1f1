"""The processes of one training: one per device, or this one alone.

Ranks agree before anything that one of them could do alone, such as running out of memory: a rank that waits for
another which has gone another way would wait for ever.
"""

from collections.abc import Iterable, Sequence
from typing import TypeVar

import torch
from torch import distributed, nn

T = TypeVar("T")


class Team:
    """One rank of a training.

    Args:
        rank: This process, from 0; rank 0 leads: it writes files and speaks.
        ranks: How many there are.
    """

    def __init__(self, rank: int = 0, ranks: int = 1) -> None:
        self.rank = rank
        self.ranks = ranks

    @property
    def leads(self) -> bool:
        """Whether this is the rank that writes files and speaks."""
        return self.rank == 0

    def most(self, number: int, device: torch.device) -> int:
        """Return the largest of all ranks' numbers; every rank calls this at the same point."""
        if self.ranks == 1:
            return number
        shared = torch.tensor(number, device=device)
        distributed.all_reduce(shared, op=distributed.ReduceOp.MAX)
        return int(shared)

    def average(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace every gradient by its mean over the ranks; one that a rank has not got counts as zero."""
        if self.ranks == 1:
            return
        wanted = [parameter for parameter in parameters if parameter.requires_grad]
        for parameter in wanted:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        gradients = [parameter.grad for parameter in wanted if parameter.grad is not None]
        if not gradients:
            return
        # One message for all of them: each has a latency, and a network has hundreds of tensors.
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        distributed.all_reduce(flat)
        flat /= self.ranks
        sizes = [gradient.numel() for gradient in gradients]
        for gradient, mean in zip(gradients, torch.split(flat, sizes), strict=True):
            gradient.copy_(mean.view_as(gradient))

    def all_of(self, mine: T) -> list[T]:
        """Return every rank's value, in the order of ranks."""
        if self.ranks == 1:
            return [mine]
        gathered: list[T | None] = [None] * self.ranks
        distributed.all_gather_object(gathered, mine)
        return [each for each in gathered if each is not None]

    def share(self, things: Sequence[T]) -> Sequence[T]:
        """Return this rank's part of what can be shared out; all of it where there is less than one for each."""
        return things if len(things) < self.ranks else things[self.rank :: self.ranks]

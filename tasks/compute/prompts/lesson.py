"""Prompts for training: which classes of a patch are asked for, by name, by clicks, or both."""

import random
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from configs.kinds import UNLABELLED
from tasks.compute.prompts.network import Prompted, union

# Classes, clicks, their sides, and the classes that the clicks are on; of B prompts with N clicks, or None.
Drawn = tuple[Tensor | None, Tensor | None, Tensor | None, Tensor | None]
Sampler = Callable[..., Drawn]
_NOT_A_CLICK = -1
# A probability of 0, and no gradient, in float16 too.
_NEVER = -1e4


class Lesson(NamedTuple):
    """What a network answered to prompts, and what it should have: logits and 0 or 1, shape (prompt, 1, i, j, k)."""

    logits: Tensor
    truth: Tensor


def lesson(network: Prompted, sampler: Sampler, image: Tensor, label: Tensor, taught: Sequence[int]) -> Lesson | None:
    """Ask a network about one patch.

    Args:
        network: The network.
        sampler: Draws prompts: MONAI's `sample_prompt_pairs` with its settings.
        image: Shape (1, 1, i, j, k).
        label: Same shape; a class, 0, or `UNLABELLED` per voxel.
        taught: The classes that its annotator drew.

    Returns:
        None where there is nothing to ask.
    """
    # The sampler draws from Python's generator, which no step is seeded with.
    random.seed(int(torch.randint(2**31, ())))
    named, points, sides, asked = sampler(labels=label, label_set=[*taught])
    if asked is None:
        return None
    numbers = [int(number) for number in asked[:, 0]]
    if points is not None and sides is not None:
        sides = _on_labelled(points, sides.long(), label)
        sides[[number in network.prompts.merged for number in numbers]] = _NOT_A_CLICK
        clicked = (sides != _NOT_A_CLICK).any(1)
        if not bool(clicked.any()):
            points = None
        elif named is None:
            points, sides = points[clicked], sides[clicked]
            numbers = [number for number, one in zip(numbers, clicked.tolist(), strict=True) if one]
    logits = _answer(network, image, numbers, (points, sides), by_name=named is not None or points is None)
    unknown = label == UNLABELLED
    truth = torch.cat([torch.isin(label, torch.tensor([n, *network.prompts.parts_of(n)]).to(label)) for n in numbers])
    return Lesson(logits.float().masked_fill(unknown, _NEVER), truth.float())


def _on_labelled(points: Tensor, sides: Tensor, label: Tensor) -> Tensor:
    """Return the clicks' sides; what was drawn where nobody looked is no click."""
    i, j, k = points.long().unbind(-1)
    return sides.masked_fill(label[0, 0, i, j, k] == UNLABELLED, _NOT_A_CLICK)


def _answer(
    network: Prompted,
    image: Tensor,
    numbers: Sequence[int],
    clicks: tuple[Tensor | None, Tensor | None],
    *,
    by_name: bool,
) -> Tensor:
    """Return logits of shape (prompt, 1, i, j, k)."""
    points, sides = clicks
    if points is None or sides is None:
        named: Tensor = network(image, numbers)
        return named.transpose(0, 1)
    parts = [network.prompts.parts_of(number) for number in numbers] if by_name else [(number,) for number in numbers]
    counts = torch.tensor([len(part) for part in parts], device=image.device)
    rows = torch.tensor([[number] for part in parts for number in part], device=image.device)
    answer = network(
        image,
        point_coords=points.repeat_interleave(counts, 0),
        point_labels=sides.repeat_interleave(counts, 0),
        class_vector=rows if by_name else None,
        prompt_class=rows,
    )
    return union(answer, parts).transpose(0, 1)

"""Fits a network that takes prompts: each step asks some, and learns from what it is answered."""

from typing import Any

import torch
from torch import Tensor

from configs.kinds import UNLABELLED
from tasks.compute.failures import BundleFaultError
from tasks.compute.loader.channels import Channels
from tasks.compute.loader.config import Config
from tasks.compute.prompts.lesson import Sampler, lesson
from tasks.compute.prompts.network import Prompted
from tasks.compute.training.module import Segmenter


class PromptLearner(Segmenter):
    """`Segmenter` whose loss is the mean over the prompts of a patch.

    Nothing is frozen: encoder, automatic branch and clicks' branch learn from the same step.

    Args:
        network: The network.
        channels: What its answers stand for.
        sampler: Draws a patch's prompts.
        others: As of `Segmenter`.
    """

    def __init__(self, network: Prompted, channels: Channels, *, sampler: Sampler, **others: Any) -> None:
        super().__init__(network, channels, **others)
        self._prompted, self._sampler = network, sampler
        # A table: targets are channels, prompts are the network's classes.
        self._class_of = torch.zeros(UNLABELLED + 1, dtype=torch.long)
        self._class_of[1 : 1 + len(network.classes)] = torch.tensor(network.classes)
        self._class_of[UNLABELLED] = UNLABELLED

    def judge(self, image: Tensor, label: Tensor, drawn: Tensor) -> Tensor:
        """Return the mean loss of the patches' prompts, which are of what their annotators drew."""
        classes = self._class_of.to(label.device)[label.long()]
        # A patch without prompts teaches nothing, and a step has a gradient all the same.
        total: Tensor = 0 * self._prompted.class_head.class_embeddings.weight.sum()
        for one, there in enumerate(drawn.tolist()):
            taught = [number for number, is_drawn in zip(self._prompted.classes, there, strict=True) if is_drawn]
            patch = slice(one, one + 1)
            found = lesson(self._prompted, self._sampler, image[patch], classes[patch], taught)
            if found is not None:
                total = total + self.loss(found.logits, found.truth) / len(label)
        return total


def sampler_of(config: Config) -> Sampler:
    """Return what draws prompts, as a training configuration says under `sampler`.

    Raises:
        BundleFaultError: If it says nothing.
    """
    sampler = config.build("sampler")
    if not callable(sampler):
        raise BundleFaultError("Its network takes prompts, and its training configuration has no sampler of them")
    drawn: Sampler = sampler
    return drawn

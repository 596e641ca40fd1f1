r"""Epistemic uncertainty: how far predictions disagree that ought to agree.

Several predictions of one image are made: with dropout switched on, each a sample of the network's possible weights;
or, where the network has no dropout, of the image flipped along each axis. Their mutual information is what is
undecided between them and not within them: an image that is ambiguous for every one of them scores 0.
"""

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd

from tasks.compute.inference.decide import label_map
from tasks.compute.scoring.entropy import mean_around
from tasks.compute.scoring.subject import Scored, Subject

# The spread over passes falls with their root: twice as many cost twice the time for 30 % less.
DROPOUT_PASSES = 8
_SEED = 20


def epistemic(subject: Subject) -> Scored:
    """Score an image by Monte-Carlo dropout where the network has dropout layers, else by flips.

    Source:
        Gal and Ghahramani, "Dropout as a Bayesian Approximation", ICML 2016; of flips: Wang et al., "Aleatoric
        uncertainty estimation with test-time augmentation for medical image segmentation with convolutional neural
        networks", Neurocomputing 338, 2019.
    """
    layers = dropout_layers(subject.network)
    if layers:
        passes = subject.passes or DROPOUT_PASSES
        with _switched_on(layers), torch.random.fork_rng():
            torch.manual_seed(_SEED)  # the same image gets the same score
            return Scored(_score(subject, (subject.answer(subject.image) for _ in range(passes))), "dropout")
    return Scored(_score(subject, _flipped(subject)), "flips")


def disagreement(passes: Iterable[Tensor], *, exclusive: bool) -> tuple[Tensor, Tensor]:
    r"""Return the mutual information per voxel, 0..1, shape (i, j, k), and the mean probabilities (channel, i, j, k).

    $$I = H\left(\tfrac1T \sum_t p_t\right) - \tfrac1T \sum_t H(p_t)$$, divided by the largest entropy.

    Args:
        passes: Logits of shape (channel, i, j, k), of the same image in the same orientation; one is held at a time.
        exclusive: Softmax over channels; else the mean of the channels' binary values.

    Source:
        Houlsby et al., "Bayesian Active Learning for Classification and Preference Learning", arXiv:1112.5745, 2011.
    """
    total, within, count = None, None, 0
    for logits in passes:
        chance = torch.softmax(logits, 0) if exclusive else torch.sigmoid(logits)
        own = _entropy(chance, exclusive=exclusive)
        # Sums and no list: eight volumes of probabilities would not fit beside the network.
        total = chance if total is None else total + chance
        within = own if within is None else within + own
        count += 1
    if total is None or within is None:
        raise ValueError("There is no prediction to compare")
    mean = total / count
    between = _entropy(mean, exclusive=exclusive) - within / count
    return between.clamp(0, 1), mean  # rounding may leave it a little below 0


def dropout_layers(network: nn.Module) -> list[nn.Module]:
    """Return the layers that drop something when they are switched on."""
    return [layer for layer in network.modules() if isinstance(layer, _DropoutNd) and layer.p > 0]


def _score(subject: Subject, passes: Iterable[Tensor]) -> float:
    values, mean = disagreement(passes, exclusive=subject.channels.exclusive)
    if subject.channels.kind == "class":
        return float(values)
    return mean_around(values, label_map(mean.logit(), subject.channels) > 0)


def _flipped(subject: Subject) -> Iterator[Tensor]:
    """Yield the answer to the image as it is, then flipped along each axis, each turned back."""
    image = subject.image.as_subclass(Tensor)
    yield subject.answer(image)
    for axis in range(1, image.dim()):
        answer = subject.answer(image.flip(axis))
        yield answer.flip(axis) if answer.dim() == image.dim() else answer  # the class of an image has no sides


def _entropy(chance: Tensor, *, exclusive: bool) -> Tensor:
    """Return the entropy per voxel, divided by its largest value; 0 ln 0 = 0."""
    terms = _entr(chance) if exclusive else _entr(chance) + _entr(1 - chance)
    return terms.sum(0) / math.log(max(2, chance.shape[0])) if exclusive else terms.mean(0) / math.log(2)


def _entr(chance: Tensor) -> Tensor:
    entropies: Tensor = torch.special.entr(chance)
    return entropies


@contextmanager
def _switched_on(layers: list[nn.Module]) -> Iterator[None]:
    """Let these layers drop, and no other layer train: normalisation keeps what it has learned."""
    for layer in layers:
        layer.train()
    try:
        yield
    finally:
        for layer in layers:
            layer.eval()

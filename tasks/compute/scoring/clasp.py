r"""ClaSP PE: predictive entropy, label by label in turn, with noise that fades as the annotation goes on.

Source:
    Lüth et al., "Finally Outshining the Random Baseline: A Simple and Effective Solution for Active Learning in 3D
    Biomedical Imaging", TMLR 2026, arXiv:2601.13677; there of patches and the mean softmax of several networks, here of
    whole images and of the published one. The noise: Kirsch et al., "Stochastic Batch Acquisition", TMLR 2023.
"""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from tasks.compute.inference.decide import label_map
from tasks.compute.scoring.entropy import entropies, mean_around
from tasks.compute.scoring.subject import Beside, Floats, Scored, Subject

SHARPEST = 100.0
"""What beta rises to, from 1."""
_STRATIFIED, _OF = 2, 3  # two of three images are chosen for a label
# A logarithm is taken, and a label that is nowhere has uncertainty 0.
_LEAST = 1e-12


def clasp(subject: Subject) -> Scored:
    r"""Return $$\overline{H}$$ and $$\overline{p_c H}$$ of each label, 0..1, means over what it sees and around it.

    Until images are ordered beside each other, by `in_turn`, the score is the entropy alone.
    """
    logits, channels = subject.answer(subject.image), subject.channels
    foreground = [channel for channel in range(len(channels.names)) if channels.labels[channel] > channels.nothing]
    entropy = entropies(logits, exclusive=channels.exclusive)
    chances = torch.softmax(logits, 0) if channels.exclusive else torch.sigmoid(logits)
    if channels.kind == "class":
        values = [float(entropy), *(float(chances[channel] * entropy) for channel in foreground)]
    else:
        where = label_map(logits, channels) > 0
        values = [mean_around(each, where) for each in (entropy, *(chances[one] * entropy for one in foreground))]
    return Scored(values[0], features=tuple(values))


def in_turn(images: Beside) -> Floats:
    r"""Return 1 for the first image to 1/n for the last.

    Two of three places go to the labels in turn, by $$\ln \overline{p_c H} + G$$, the third goes by
    $$\ln \overline{H} + G$$, where $$G \sim \mathrm{Gumbel}(0, 1/\beta)$$ and $$\beta = 100^{progress}$$.
    """
    beta = SHARPEST**images.progress
    noise = np.random.default_rng(images.seed).gumbel(0, 1 / beta, images.features.shape)
    values = np.log(np.maximum(images.features, _LEAST)) + noise
    free = np.flatnonzero(~images.taken)
    ranked = [_ranked(values[:, column], free) for column in range(values.shape[1])]
    left, scores = set(free.tolist()), np.zeros(len(values), dtype=np.float32)
    for place, column in zip(range(len(free)), _columns(values.shape[1]), strict=False):
        best = next(image for image in ranked[column] if image in left)
        left.remove(best)
        scores[best] = 1 - place / len(free)
    return scores


def _ranked(values: NDArray[np.float64], free: NDArray[np.int64]) -> Iterator[int]:
    return iter(free[np.argsort(-values[free], kind="stable")].tolist())


def _columns(count: int) -> Iterator[int]:
    """Yield whose turn it is without end: labels are columns from 1 on, 0 is the plain entropy."""
    label = place = 0
    while True:
        if place % _OF < _STRATIFIED and count > 1:
            yield 1 + label % (count - 1)
            label += 1
        else:
            yield 0
        place += 1

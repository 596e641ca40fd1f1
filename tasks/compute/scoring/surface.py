"""How far the surfaces of the model's answer and of a label are apart."""

import math

import torch
from monai.metrics.surface_distance import compute_average_surface_distance

from tasks.compute.scoring.judged import Judged


def surface(case: Judged) -> float:
    r"""Return the mean over drawn labels of the average symmetric surface distance, mm, 0 or more.

    $$\frac{\sum_{a \in A} d(a, B) + \sum_{b \in B} d(b, A)}{|A| + |B|}$$ over surface voxels. 0 where neither has the
    label, the image's diagonal where one of them has.

    Source:
        Heimann et al., "Comparison and Evaluation of Methods for Liver Segmentation From CT Datasets", IEEE TMI 28(8),
        2009; computed by MONAI.
    """
    answer = case.answer()
    farthest = math.hypot(*(extent * step for extent, step in zip(case.label.shape, case.spacing, strict=True)))
    found = [_distance(case.label == index, answer == index, case.spacing, farthest) for index in case.drawn]
    return sum(found) / len(found)


def _distance(label: torch.Tensor, answer: torch.Tensor, spacing: tuple[float, ...], farthest: float) -> float:
    if not label.any() or not answer.any():
        return farthest if label.any() or answer.any() else 0.0
    one, other = (mask[None, None].float() for mask in (answer, label))
    mean = compute_average_surface_distance(one, other, include_background=True, symmetric=True, spacing=[*spacing])
    return float(mean)

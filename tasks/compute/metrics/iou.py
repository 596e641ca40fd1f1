"""Intersection over union of label maps, as tensors."""

import torch
from torch import Tensor


def iou(reference: Tensor, predicted: Tensor) -> float | None:
    r"""Return the intersection over union of two masks of one shape.

    $$J = \frac{|R \cap P|}{|R \cup P|}$$

    Returns:
        0 (disjoint) to 1 (identical); None when both are empty: there was nothing to find.

    Source:
        Jaccard, "The Distribution of the Flora in the Alpine Zone", New Phytologist 11(2), 1912,
        doi:10.1111/j.1469-8137.1912.tb05611.x.
    """
    union = int(torch.logical_or(reference, predicted).count_nonzero())
    if union == 0:
        return None
    return int(torch.logical_and(reference, predicted).count_nonzero()) / union

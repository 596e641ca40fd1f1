"""Intersection over union of label maps."""

from tasks.compute.metrics.counts import Counts


def iou(counts: Counts) -> float | None:
    r"""Return the intersection over union of two masks.

    $$J = \frac{|R \cap P|}{|R \cup P|}$$

    Returns:
        0 (disjoint) to 1 (identical); None when both are empty: there was nothing to find.

    Source:
        Jaccard, "The Distribution of the Flora in the Alpine Zone", New Phytologist 11(2), 1912,
        doi:10.1111/j.1469-8137.1912.tb05611.x.
    """
    union = counts.reference + counts.predicted - counts.both
    return counts.both / union if union else None

"""Dice similarity of label maps."""

from tasks.compute.metrics.counts import Counts


def dice(counts: Counts) -> float | None:
    r"""Return the Dice similarity of two masks.

    $$D = \frac{2\,|R \cap P|}{|R| + |P|}$$

    Returns:
        0 (disjoint) to 1 (identical); None when both are empty: there was nothing to find.

    Source:
        Dice, "Measures of the Amount of Ecologic Association Between Species", Ecology 26(3), 1945,
        doi:10.2307/1932409.
    """
    total = counts.reference + counts.predicted
    return 2 * counts.both / total if total else None


def mean(values: list[float | None]) -> float | None:
    """Return the mean of the values that there are, None where there is none."""
    present = [value for value in values if value is not None]
    return sum(present) / len(present) if present else None

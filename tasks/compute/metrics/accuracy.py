"""Whether the class of a whole image was told."""

from tasks.compute.metrics.counts import Counts


def hit(counts: Counts) -> float | None:
    """Return 1 if an image of a class was found to be of it, else 0; None for an image of another class.

    The mean over a class's images is its recall; the mean over all images, each of one class, is the accuracy.

    Args:
        counts: Of single truth values: whether the image is of the class, and whether that was found to be the
            likeliest.
    """
    return float(counts.both) if counts.reference else None

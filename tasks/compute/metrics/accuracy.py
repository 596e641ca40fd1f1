"""Whether the class of a whole image was told, as tensors."""

from torch import Tensor


def hit(reference: Tensor, predicted: Tensor) -> float | None:
    """Return 1 if an image of a class was found to be of it, else 0; None for an image of another class.

    The mean over a class's images is its recall; the mean over all images, each of one class, is the accuracy.

    Args:
        reference: A single truth value: whether the image is of the class.
        predicted: Whether the class was found to be the likeliest.
    """
    return float(predicted) if bool(reference) else None

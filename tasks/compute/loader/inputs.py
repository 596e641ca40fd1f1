"""What a network takes: as many channels as its metadata say, which was tried when the bundle was examined."""

from torch import Tensor

from tasks.compute.failures import UnreadableError


def check_channels(image: Tensor, wanted: int) -> None:
    """Refuse an image, as it was prepared, of another number of channels.

    Args:
        image: Shape (channel, …).
        wanted: What the network takes.

    Raises:
        UnreadableError: With both numbers.
    """
    if image.shape[0] != wanted:
        raise UnreadableError(
            f"The image has {image.shape[0]} channel(s), and the bundle's network takes {wanted}: give each image of"
            f" the data set {wanted} files or series, or choose a bundle for {image.shape[0]}"
        )

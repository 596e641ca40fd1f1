"""What a network takes: as many channels as its metadata say, which was tried when the bundle was examined."""

from monai.inferers import Inferer, SlidingWindowInferer, SlidingWindowInfererAdapt
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


def check_axes(image: Tensor, inferer: Inferer) -> None:
    """Refuse a picture where windows have three axes, and a volume where they have two.

    Args:
        image: Shape (channel, …), as it was prepared.
        inferer: How the network is applied to it. One that is no plain sliding window may cut an image as it likes.

    Raises:
        UnreadableError: With both numbers.
    """
    # Not isinstance: SliceInferer's windows have two axes, and its images three.
    if type(inferer) not in (SlidingWindowInferer, SlidingWindowInfererAdapt):
        return
    roi = inferer.roi_size
    if isinstance(roi, list | tuple) and len(roi) != image.ndim - 1:
        raise UnreadableError(
            f"The image has {image.ndim - 1} axes, and the bundle's network looks at windows of {len(roi)}: choose a"
            f" bundle for {image.ndim - 1}-D images, or give it {len(roi)}-D ones"
        )

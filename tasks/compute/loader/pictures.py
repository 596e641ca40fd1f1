"""Pictures (PNG) in a bundle's pipeline: read with as many channels as its network takes."""

from functools import partial
from typing import Any

import numpy as np
from monai.data import PILReader
from monai.transforms import Compose, LoadImage, LoadImaged
from PIL import Image

PICTURE_MODES = {1: "L", 3: "RGB"}
"""Of a network that takes pictures, by its number of input channels."""


def read_pictures(transforms: Compose, channels: int) -> None:
    """Have a pipeline read grey and coloured pictures alike, whatever it reads other files with.

    A grey picture has no axis of channels for a bundle that names one; a coloured one has three for a network of one.

    Args:
        transforms: The pipeline; the loaders in it are changed.
        channels: Of the network's input; other numbers than 1 and 3 are no picture's.
    """
    mode = PICTURE_MODES.get(channels)
    if mode is None:
        return
    for transform in transforms.flatten().transforms:
        loader = transform._loader if isinstance(transform, LoadImaged) else transform  # noqa: SLF001 - it has no other way in
        if isinstance(loader, LoadImage):
            loader.register(_Reader(converter=partial(_converted, mode)))  # the last one is asked first


class _Reader(PILReader):  # type: ignore[misc]  # MONAI's types are not read
    """MONAI's own, which says where the pixels lie, too: where labels of pictures do, one millimetre apart in LPS."""

    def _get_meta_dict(self, img: Image.Image) -> dict[str, Any]:
        affine = np.diag([-1.0, -1.0, 1.0, 1.0])
        return {**super()._get_meta_dict(img), "affine": affine, "original_affine": affine.copy()}


def _converted(mode: str, picture: Image.Image) -> Image.Image:
    return picture.convert(mode)

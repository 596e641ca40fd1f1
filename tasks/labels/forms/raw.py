"""A label that came as its voxels alone: the grid is its image's."""

import math

import numpy as np

from configs.errors import InvalidRequestError
from tasks.images.geometry import Geometry
from tasks.images.volume import Volume
from tasks.labels.forms.write import to_nrrd


def of_raw(voxels: bytes, image: Geometry) -> bytes:
    """Return voxels (uint8, i fastest, as viewers hold them) as NRRD on their image's grid.

    Raises:
        InvalidRequestError: If there are more or fewer than the image has.
    """
    if len(voxels) != math.prod(image.shape):
        size = " x ".join(map(str, image.shape))
        raise InvalidRequestError(f"A label without a header has a byte for each of its image's {size} voxels")
    return to_nrrd(Volume(np.frombuffer(voxels, np.uint8).reshape(image.shape, order="F"), image.affine))

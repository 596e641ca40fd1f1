"""Answer a request to segment by scribbles."""

from pathlib import Path

import nibabel
import numpy as np
from numpy.typing import NDArray

from configs.wire.host import Ready
from configs.wire.scribbles import BACKGROUND, FOREGROUND, Scribbled, ScribbleRequest
from tasks.compute.control import Control
from tasks.compute.failures import BadInputError
from tasks.compute.scribbles.cut import cut
from tasks.compute.scribbles.likelihood import LIKELIHOODS

_MARGIN = 4  # voxels around a region, which are known to be background


def run(request: ScribbleRequest, control: Control) -> None:
    """Answer with what the scribbles mean.

    Raises:
        BadInputError: If one of the two sides has no voxel.
    """
    control.say(Ready())
    scribbles: NDArray[np.uint8] = np.load(request.scribbles, allow_pickle=False)
    part = _part(request, scribbles.shape)
    drawn = scribbles[part].copy()
    _close_in(drawn, request, part)
    file = nibabel.load(request.image)
    image = np.nan_to_num(np.asarray(file.dataobj[part], dtype=np.float32))
    outside, inside = image[drawn == BACKGROUND], image[drawn == FOREGROUND]
    for side, said in ((inside, "foreground"), (outside, "background, or place a region around it")):
        if not side.size:
            raise BadInputError(f"Nothing is scribbled on as {said}: draw at least a stroke")
    likelihood = LIKELIHOODS[request.method](image, outside, inside)
    spacing = np.linalg.norm(file.affine[:3, :3], axis=0)
    whole = np.zeros(scribbles.shape, dtype=bool)
    whole[part] = cut(likelihood, image, drawn, spacing)
    target = Path(request.out) / "inside.npy"
    np.save(target, whole)
    control.say(Scribbled(path=str(target)))


def _part(request: ScribbleRequest, shape: tuple[int, ...]) -> tuple[slice, ...]:
    """Return the part of the image that is looked at: the region and a margin, or all of it."""
    if request.region is None:
        return tuple(slice(size) for size in shape)
    ranges = zip(request.region, shape, strict=True)
    return tuple(slice(max(first - _MARGIN, 0), min(last + _MARGIN, size)) for (first, last), size in ranges)


def _close_in(drawn: NDArray[np.uint8], request: ScribbleRequest, part: tuple[slice, ...]) -> None:
    """Mark what lies outside of the region as background."""
    if request.region is None:
        return
    within = tuple(
        slice(max(first - each.start, 0), last - each.start)
        for (first, last), each in zip(request.region, part, strict=True)
    )
    kept = drawn[within].copy()
    drawn[:] = BACKGROUND
    drawn[within] = kept

"""The cheapest cut through a volume: Boykov and Jolly, Interactive graph cuts, ICCV 2001."""

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import zoom
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import breadth_first_order, maximum_flow
from skimage.measure import block_reduce

from configs.wire.scribbles import BACKGROUND, FOREGROUND

MOST_NODES = 200_000
"""Above it several voxels are one node: the cut takes a second by then, and all flow together must fit 32 bits."""

_UNIT = 1000  # the flow is in whole numbers
_NEVER = 10 * _UNIT  # dearer than all six neighbours of a voxel together
_FLAT = 1e-12  # square of a difference, where there is none at all
Volume = NDArray[np.float32]


def cut(
    likelihood: Volume, image: Volume, scribbles: NDArray[np.uint8], spacing: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Return which voxels are inside: those that the minimum of the energy leaves there.

    A voxel on a side costs the negative logarithm of its likelihood there; two neighbours on different sides cost
    exp(-difference² / 2 mean difference²), less where they are further apart. What is scribbled on stays on its side.

    Args:
        likelihood: Of being inside, in (0, 1), (i, j, k).
        image: Values, likewise.
        scribbles: `BACKGROUND`, `FOREGROUND` or 0, likewise.
        spacing: mm along i, j and k.
    """
    steps = _steps(image.shape, spacing)
    whole = _reduced(image, steps, np.mean)
    inside = _solved(
        _reduced(likelihood, steps, np.mean), whole, _reduced(scribbles, steps, np.max), spacing * np.asarray(steps)
    )
    if max(steps) == 1:
        return inside
    fine = zoom(inside.astype(np.float32), steps, order=1, mode="nearest", grid_mode=True) > 0.5  # noqa: PLR2004 - half
    cropped = fine[tuple(slice(size) for size in image.shape)]
    return np.asarray((cropped | (scribbles == FOREGROUND)) & (scribbles != BACKGROUND))


def _steps(shape: tuple[int, ...], spacing: NDArray[np.float64]) -> tuple[int, ...]:
    """Return how many voxels along each axis are one node: the finest axis is coarsened first."""
    steps = np.ones(3, dtype=int)
    while np.prod(-(-np.asarray(shape) // steps)) > MOST_NODES:
        coarse = np.where(steps < np.asarray(shape), steps * spacing, np.inf)
        steps[int(coarse.argmin())] += 1
    return tuple(int(step) for step in steps)


def _reduced(values: NDArray[np.generic], steps: tuple[int, ...], by: object) -> NDArray[np.float32]:
    short = [(0, -size % step) for size, step in zip(values.shape, steps, strict=True)]
    whole = np.pad(values, short, mode="edge")
    return np.asarray(block_reduce(whole, steps, by), dtype=np.float32)  # type: ignore[no-untyped-call]  # it has no types


def _solved(likelihood: Volume, image: Volume, scribbles: Volume, spacing: NDArray[np.float64]) -> NDArray[np.bool_]:
    nodes = np.arange(image.size, dtype=np.int32).reshape(image.shape)
    source, sink = image.size, image.size + 1
    ends: list[tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]]] = []
    for axis in range(image.ndim):
        near, far = (np.take(nodes, range(*part), axis).ravel() for part in _pairs(image.shape[axis]))
        apart = image.ravel()[near] - image.ravel()[far]
        # As noisy as the image is (Rother et al., GrabCut, 2004): a difference is an edge where few are as large.
        cost = np.exp(-(apart**2) / (2 * max(float(np.mean(apart**2)), _FLAT))) * spacing.min() / spacing[axis]
        whole = np.round(_UNIT * cost).astype(np.int32) + 1
        ends += [(near, far, whole), (far, near, whole)]
    # Of the two costs only the difference decides: the smaller one is paid on either side.
    gain = np.round(_UNIT * (np.log(likelihood) - np.log1p(-likelihood))).astype(np.int32).ravel()
    gain[scribbles.ravel() == BACKGROUND], gain[scribbles.ravel() == FOREGROUND] = -_NEVER, _NEVER
    for side, first, last in ((gain > 0, source, None), (gain < 0, None, sink)):
        these = np.flatnonzero(side).astype(np.int32)
        ends.append(
            (
                these if first is None else np.full_like(these, first),
                these if last is None else np.full_like(these, last),
                np.abs(gain[these]),
            )
        )
    begin, end, capacity = (np.concatenate(each) for each in zip(*ends, strict=True))
    graph = csr_array(coo_array((capacity, (begin, end)), shape=(sink + 1, sink + 1)))
    left = graph - maximum_flow(graph, source, sink).flow
    left.eliminate_zeros()
    inside = np.zeros(sink + 1, dtype=bool)
    inside[breadth_first_order(left, source, return_predecessors=False)] = True
    return inside[:source].reshape(image.shape)


def _pairs(size: int) -> tuple[tuple[int, int], tuple[int, int]]:
    return (0, size - 1), (1, size)

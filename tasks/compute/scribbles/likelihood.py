"""How likely each voxel lies inside, by its value beside the values that were scribbled on."""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from configs.wire.scribbles import ScribbleMethod

Values = NDArray[np.float32]
BINS = 64
_SMOOTH_BINS = 1.0  # a stroke has few voxels: without it most bins would be empty on both sides
_MOST_MIXED = 20
_VOXELS_PER_MIXED = 20
# Fitting takes time by samples; strokes of a brush hold tens of thousands that say the same.
_MOST_SAMPLES = 5000
# The mixture is asked for these and interpolated: a volume has millions of voxels.
_LEVELS = 1024
_AT_ONCE = 2**20
_LEAST = 1e-3  # no value is certain: the cut weighs its logarithm


def by_histogram(values: Values, outside: Values, inside: Values) -> Values:
    """Return the share of each value's bin that is inside, of both sides' smoothed histograms.

    Args:
        values: Of all voxels, any shape.
        outside: Of voxels scribbled on as background.
        inside: Of voxels scribbled on as foreground.

    Returns:
        In [0.001, 0.999], shape of *values*; 0.5 where neither side has anything.
    """
    low, high = float(values.min()), float(values.max())
    edges = np.linspace(low, high, BINS + 1)[1:-1]
    out, within = (
        gaussian_filter1d(np.bincount(np.digitize(side, edges), minlength=BINS) / side.size, _SMOOTH_BINS)
        for side in (outside, inside)
    )
    share = _share(out, within)
    return _each(values, lambda part: share[np.digitize(part, edges)])


def by_mixture(values: Values, outside: Values, inside: Values) -> Values:
    """Return how likely each value is inside by a mixture of Gaussians fitted to each side; as `by_histogram`.

    A mixture has a Gaussian per twenty voxels of its side, twenty at most (Rother et al., GrabCut, 2004, has five per
    side, of colours).
    """
    levels = np.linspace(float(values.min()), float(values.max()), _LEVELS)
    out, within = (np.exp(_logarithms(side, levels)) for side in (outside, inside))
    share = _share(out, within)
    return _each(values, lambda part: np.interp(part, levels, share))


LIKELIHOODS: Mapping[ScribbleMethod, Callable[[Values, Values, Values], Values]] = {
    "histogram": by_histogram,
    "gmm": by_mixture,
}


def _each(values: Values, of: Callable[[Values], NDArray[np.floating]]) -> Values:
    """Return what a function says of each value, asked of a part at a time: what it needs has eight bytes a voxel."""
    flat, found = values.ravel(), np.empty(values.size, np.float32)
    for start in range(0, flat.size, _AT_ONCE):
        found[start : start + _AT_ONCE] = of(flat[start : start + _AT_ONCE])
    return found.reshape(values.shape)


def _logarithms(side: Values, levels: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the logarithm of the density of one side's values at each level."""
    from sklearn.mixture import GaussianMixture  # noqa: PLC0415 - it starts a thread, and hosts are forked where none is

    samples = side[:: side.size // _MOST_SAMPLES + 1].astype(np.float64)
    mixed = min(_MOST_MIXED, max(1, samples.size // _VOXELS_PER_MIXED), np.unique(samples).size)
    least = max(float(samples.var()), 1e-6) * 1e-3
    fitted = GaussianMixture(mixed, random_state=0, reg_covar=least).fit(samples[:, None])
    return np.asarray(fitted.score_samples(levels[:, None]))


def _share(outside: NDArray[np.float64], inside: NDArray[np.float64]) -> Values:
    both = outside + inside
    share = np.divide(inside, both, out=np.full(both.shape, 0.5), where=both > np.finfo(np.float32).tiny)
    return np.asarray(np.clip(share, _LEAST, 1 - _LEAST), dtype=np.float32)

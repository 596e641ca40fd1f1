"""Random warps and scanner effects: a new case from a template, the same for the same seed."""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from scipy.ndimage import map_coordinates

Image: TypeAlias = npt.NDArray[np.float32]
LabelMap: TypeAlias = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Warp:
    """How strongly a case may differ in shape and place from its template.

    Attributes:
        rotation_deg: Standard deviation of the turn about each axis.
        shear: Standard deviation of each entry that is added to the linear part: 0.05 stretches by about 5 %.
        shift_mm: Standard deviation of the move along each axis.
        bend_mm: Standard deviation of the smooth displacement along each axis.
        bend_scale_mm: Distance between the points that bend; folds closer than this move together.
    """

    rotation_deg: float = 10.0
    shear: float = 0.05
    shift_mm: float = 6.0
    bend_mm: float = 5.0
    bend_scale_mm: float = 30.0


@dataclass(frozen=True)
class Look:
    """How strongly a case may differ in brightness from its template.

    Attributes:
        bias: Standard deviation of the logarithm of the smooth brightening of the coil.
        gamma: Standard deviation of the logarithm of the contrast exponent.
        noise: Standard deviation of the noise, as a share of the brightest tissue.
        inverted: Whether bright and dark tissue change places, as on another sequence: the model's new domain.
    """

    bias: float = 0.15
    gamma: float = 0.2
    noise: float = 0.03
    inverted: bool = False


def warp_case(
    image: Image,
    labels: LabelMap,
    *,
    seed: tuple[int, ...],
    spacing_mm: float,
    warp: Warp | None = None,
    look: Look | None = None,
) -> tuple[Image, LabelMap]:
    """Make one case: move image and labels by one random warp, then change how the image looks.

    Args:
        image: Intensity from 0 (air) to about 1, shape (I, J, K), isotropic.
        labels: Label map of the same shape.
        seed: Numbers that alone decide the result, such as (seed of the set, number of the case).
        spacing_mm: Edge of a voxel.
        warp: Strength of the change in shape.
        look: Strength of the change in brightness.

    Returns:
        Image (≥ 0, linear interpolation) and labels (nearest neighbour) on the same grid; 0 where the warp reaches
        beyond the template.
    """
    rng = np.random.default_rng(seed)
    points = warp_points(image.shape, rng, spacing_mm, warp or Warp())
    moved = map_coordinates(image, points, order=1, mode="constant", output=np.float32)
    moved_labels = map_coordinates(labels, points, order=0, mode="constant", output=np.uint8)
    return scan(moved, rng, spacing_mm, look or Look()), moved_labels


def warp_points(
    shape: tuple[int, ...], rng: np.random.Generator, spacing_mm: float, warp: Warp
) -> npt.NDArray[np.float32]:
    """Where in the template each voxel of the new case is taken from.

    Returns:
        Voxel coordinates of shape (3, I, J, K): linear about the middle of the volume, plus a smooth displacement.
    """
    linear = _rotation(np.radians(rng.normal(0, warp.rotation_deg, 3))) + rng.normal(0, warp.shear, (3, 3))
    shift = rng.normal(0, warp.shift_mm / spacing_mm, 3)
    centre = (np.array(shape) - 1) / 2
    grid = np.indices(shape, dtype=np.float32)
    points = np.tensordot(linear, grid - centre[:, None, None, None], axes=1) + (centre + shift)[:, None, None, None]
    for axis in range(3):
        points[axis] += warp.bend_mm / spacing_mm * smooth_noise(shape, rng, warp.bend_scale_mm / spacing_mm)
    return points.astype(np.float32)


def scan(image: Image, rng: np.random.Generator, spacing_mm: float, look: Look) -> Image:
    """Image as a scanner might show it: contrast, coil brightening over 90 mm, noise of magnitude images.

    Noise is Rician, as in magnitude MR images (Gudbjartsson and Patz, Magn Reson Med 34(6), 1995,
    doi:10.1002/mrm.1910340618): the length of the signal plus two independent Gaussian channels.
    """
    shown = np.clip(image, 0, None)
    if look.inverted:
        tissue = shown > 0.1  # noqa: PLR2004  # air and the blur around it stay dark on every sequence
        shown = np.where(tissue, np.clip(1.1 - shown, 0.05, None), shown)
    bias = np.exp(look.bias * smooth_noise(image.shape, rng, 90 / spacing_mm))
    shown = bias * shown ** np.exp(rng.normal(0, look.gamma))
    real, imaginary = rng.normal(0, look.noise, (2, *image.shape))
    seen: npt.NDArray[np.float64] = np.hypot(shown + real, imaginary)
    return seen.astype(np.float32)


def smooth_noise(shape: tuple[int, ...], rng: np.random.Generator, scale: float) -> npt.NDArray[np.float64]:
    """Smooth random field of mean 0 and standard deviation about 1.

    Uniform cubic B-splines over normal control values that lie `scale` voxels apart, as in free-form deformation
    (Rueckert et al., IEEE Trans Med Imaging 18(8), 1999, doi:10.1109/42.796284).
    """
    bases = [_spline_basis(n, scale) for n in shape]
    values = rng.normal(size=[basis.shape[1] for basis in bases])
    field = np.einsum("ia,jb,kc,abc->ijk", *bases, values, optimize=True)
    # The squares of the four weights sum to 151/315 on average along an axis.
    return np.asarray(field / (151 / 315) ** 1.5)


def _spline_basis(count: int, scale: float) -> npt.NDArray[np.float64]:
    """Weights of each control value at each of `count` voxels, shape (count, controls); a row sums to 1."""
    position = np.arange(count) / scale
    cell = np.floor(position).astype(int)
    t = position - cell
    weights = np.stack([(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3]) / 6
    basis = np.zeros((count, int(cell.max()) + 4))
    for step in range(4):
        basis[np.arange(count), cell + step] = weights[step]
    return basis


def _rotation(angles_rad: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Turn about the first, then the second, then the third axis, 3 by 3."""
    turned = np.eye(3)
    for axis, angle in enumerate(angles_rad):
        one, two = (axis + 1) % 3, (axis + 2) % 3
        turn = np.eye(3)
        turn[one, one] = turn[two, two] = np.cos(angle)
        turn[two, one] = np.sin(angle)
        turn[one, two] = -np.sin(angle)
        turned = turn @ turned
    return turned

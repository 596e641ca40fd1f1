"""What a case scores without learning anything: the marks that a trained model has to beat."""

from itertools import pairwise
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from scipy.ndimage import map_coordinates

from tasks.images.sample.templates import Source, load_template

LabelMap: TypeAlias = npt.NDArray[np.integer]

_BINS = 128
_AIR = 0.15  # share of the bright end of the histogram below which nothing is tissue


def threshold_labels(image: npt.NDArray[np.number], classes: tuple[int, int, int] = (0, 1, 2)) -> npt.NDArray[np.uint8]:
    """Label an image by brightness alone: two thresholds that part its foreground into three classes.

    Args:
        image: Intensity of a T1-weighted image, any shape and unit, air darkest.
        classes: Label of the dark, middle and bright class.

    Returns:
        Label map of the image's shape; air is 0.

    Source:
        Otsu, "A Threshold Selection Method from Gray-Level Histograms", IEEE Trans Syst Man Cybern 9(1), 1979,
        doi:10.1109/TSMC.1979.4310076; here over every pair of bins.
    """
    values = np.asarray(image, dtype=np.float64)
    top = float(np.percentile(values, 99.5))
    foreground = values > _AIR * top
    labels = np.zeros(values.shape, dtype=np.uint8)
    if not foreground.any():
        return labels
    low, high = _two_thresholds(np.clip(values[foreground], None, top))
    steps = np.digitize(values[foreground], (low, high))
    labels[foreground] = np.asarray(classes, dtype=np.uint8)[steps]
    return labels


def template_labels(
    affine: npt.NDArray[np.float64], shape: tuple[int, int, int], source: Source = "mni152", spacing_mm: float = 3.0
) -> npt.NDArray[np.uint8]:
    """Copy the labels of the unwarped template onto a grid, whatever the image on it shows.

    Args:
        affine: Voxel indices of the grid to millimetres in LPS, 4 by 4.
        shape: Voxels of the grid, (I, J, K).
        source: Which template.
        spacing_mm: Spacing at which the template's labels are made.

    Returns:
        Label map of `shape`; 0 outside the template.
    """
    template = load_template(source, spacing_mm)
    to_template = np.linalg.inv(template.affine) @ affine
    grid = np.indices(shape, dtype=np.float64).reshape(3, -1)
    points = to_template[:3, :3] @ grid + to_template[:3, 3:]
    copied: npt.NDArray[np.uint8] = map_coordinates(template.labels, points, order=0, output=np.uint8)
    return copied.reshape(shape)


def dice(reference: LabelMap, predicted: LabelMap, *, label: int = 1) -> float:
    r"""Return the Dice similarity of one label in two maps.

    $$D = \frac{2\,|R \cap P|}{|R| + |P|}$$

    Args:
        reference: Label map, shape (I, J, K): the one taken as true.
        predicted: Label map on the same grid.
        label: The value to compare; all others count as background.

    Returns:
        Overlap, 0 for none to 1 for equal. NaN when neither map holds the label: nothing was there to be found.

    Raises:
        ValueError: If the shapes differ; resample one map first.

    Source:
        Dice, "Measures of the Amount of Ecologic Association Between Species", Ecology 26(3), 1945,
        doi:10.2307/1932409.
    """
    if reference.shape != predicted.shape:
        raise ValueError(
            f"Label maps of shapes {reference.shape} and {predicted.shape} were compared; resample one first."
        )
    is_true, is_predicted = reference == label, predicted == label
    total = int(is_true.sum()) + int(is_predicted.sum())
    return 2 * int((is_true & is_predicted).sum()) / total if total else float("nan")


def _two_thresholds(values: npt.NDArray[np.float64]) -> tuple[float, float]:
    """The pair of bin edges that maximises the variance between the three classes."""
    counts, edges = np.histogram(values, bins=_BINS)
    centres = np.array([(a + b) / 2 for a, b in pairwise(edges)])
    weight = np.concatenate(([0.0], np.cumsum(counts)))
    moment = np.concatenate(([0.0], np.cumsum(counts * centres)))
    first, second = np.triu_indices(_BINS, k=1)
    first, second = first[first > 0], second[first > 0]
    ends = np.full_like(first, _BINS)
    between = np.zeros(len(first))
    for start, end in ((np.zeros_like(first), first), (first, second), (second, ends)):
        size = weight[end] - weight[start]
        between += np.divide((moment[end] - moment[start]) ** 2, size, out=np.zeros_like(size), where=size > 0)
    best = int(np.argmax(between))
    return float(edges[first[best]]), float(edges[second[best]])

"""The real heads that every sample case is a warp of, with their labels, on one grid."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, TypeAlias

import nibabel as nib
import numpy as np
import numpy.typing as npt
from scipy.ndimage import affine_transform, gaussian_filter
from scipy.spatial import cKDTree

from configs.errors import InvalidRequestError

Source: TypeAlias = Literal["mni152", "colin27"]

MNI152_LABELS = {1: "grey matter", 2: "white matter", 3: "cerebellar grey matter"}
COLIN27_LABELS = {1: "deep grey matter", 2: "hippocampus", 3: "cerebellum"}

# Field of view of a case: the brain of either template with room to be moved in.
FIELD_OF_VIEW_MM = (180.0, 216.0, 180.0)

_COLIN27_REGIONS = {
    1: ("Thalamus_", "Caudate_", "Putamen_"),
    2: ("Hippocampus_",),
    3: ("Cerebelum_", "Vermis_"),
}
_MRICRON_TEMPLATES = Path("/usr/share/mricron/templates")
_SEITZMAN_CEREBELLUM = 7  # as the first line of the file of anatomical labels says
_RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True)
class Template:
    """One real head and what is drawn on it.

    Attributes:
        image: T1-weighted intensity, shape (I, J, K), float32 from 0 (air) to about 1.
        labels: Label map of the same shape, uint8; 0 is background.
        names: Name of each label value.
        affine: Voxel indices (i, j, k) to millimetres in LPS, 4 by 4. Axes are aligned: i runs to the patient's left,
            j to the back, k to the top of the head.
    """

    image: npt.NDArray[np.float32]
    labels: npt.NDArray[np.uint8]
    names: dict[int, str]
    affine: npt.NDArray[np.float64]

    def __post_init__(self) -> None:
        """Make the arrays read-only: all callers share them."""
        for array in (self.image, self.labels, self.affine):
            array.setflags(write=False)


@cache
def load_template(source: Source, spacing_mm: float = 3.0) -> Template:
    """Read a template from the packages that ship it, on an isotropic grid of `spacing_mm`.

    Kept for the life of the process, and therefore read-only: every case is made from the same one.

    Raises:
        InvalidRequestError: If the source is unknown, the spacing is outside 1 to 6 mm, or the package is missing.
    """
    if not 1 <= spacing_mm <= 6:  # noqa: PLR2004  # finer than the templates, or coarser than their structures
        raise InvalidRequestError(f"Sample cases were asked for at {spacing_mm} mm; choose from 1 to 6 mm.")
    if source == "mni152":
        return _mni152(spacing_mm)
    if source == "colin27":
        return _colin27(spacing_mm)
    raise InvalidRequestError(f"Sample cases were asked for of {source!r}; there are 'mni152' and 'colin27'.")


def colin27_is_here() -> bool:
    """Tell whether the files of Colin27 are installed on this machine."""
    return (_MRICRON_TEMPLATES / "ch2bet.nii.gz").is_file() and (_MRICRON_TEMPLATES / "aal.nii.gz").is_file()


def _mni152(spacing_mm: float) -> Template:
    """MNI152 T1 with tissue labels; its third label is one that brightness alone cannot find.

    nilearn ships no region drawn on MNI152. It ships 300 points of known anatomy (Seitzman et al., "A set of
    functionally-defined brain regions with improved representation of the subcortex and cerebellum", NeuroImage 206,
    2020, doi:10.1016/j.neuroimage.2019.116290), 27 of them in the cerebellum. Grey matter whose nearest point is one of
    those 27 is called cerebellar. It is as bright as any other grey matter: only its place and texture tell it. The
    border is a nearest-point border, not one drawn by an expert, and takes some grey matter of the brain stem with it.
    """
    folder = _package_folder("nilearn") / "datasets" / "data"
    volumes = [
        nib.load(folder / f"mni_icbm152_{kind}_tal_nlin_sym_09a_converted.nii.gz") for kind in ("t1", "gm", "wm")
    ]
    affine, shape = _grid(volumes[0], spacing_mm)
    t1, grey, white = (_resampled(_array(v) / 255, v.affine, affine, shape) for v in volumes)
    labels = _most_likely((1 - grey - white, grey, white))
    points = np.loadtxt(folder / "seitzman_2018_ROIs_300inVol_MNI_allInfo.txt", skiprows=1, usecols=(0, 1, 2))
    regions = np.loadtxt(folder / "seitzman_2018_ROIs_anatomicalLabels.txt", skiprows=1)
    voxels = np.argwhere(labels == 1)
    world_ras = _apply(_RAS_TO_LPS @ affine, voxels)
    _, nearest = cKDTree(points).query(world_ras)
    # Only grey matter is asked: white matter of the cerebellum stays white matter.
    labels[tuple(voxels[regions[nearest] == _SEITZMAN_CEREBELLUM].T)] = 3
    return Template(t1, labels, MNI152_LABELS, affine)


def _colin27(spacing_mm: float) -> Template:
    """Colin27 with three groups of the regions of AAL, which were drawn on this very brain.

    Source: Tzourio-Mazoyer et al., "Automated Anatomical Labeling of Activations in SPM", NeuroImage 15(1), 2002,
    doi:10.1006/nimg.2001.0978.
    """
    if not colin27_is_here():
        raise InvalidRequestError(
            f"Sample cases of Colin27 were asked for, but {_MRICRON_TEMPLATES} has no ch2bet.nii.gz with "
            "aal.nii.gz. Install Debian's package mricron-data, or choose the source 'mni152'."
        )
    head, atlas = (nib.load(_MRICRON_TEMPLATES / f"{name}.nii.gz") for name in ("ch2bet", "aal"))
    affine, shape = _grid(head, spacing_mm)
    regions = _array(atlas)
    rows = [line.split() for line in (_MRICRON_TEMPLATES / "aal.nii.txt").read_text().splitlines() if line.strip()]
    groups = []
    for prefixes in _COLIN27_REGIONS.values():
        values = [int(row[0]) for row in rows if row[1].startswith(prefixes)]
        member = np.isin(regions, values).astype(np.float32)
        groups.append(_resampled(member, atlas.affine, affine, shape))
    t1 = _resampled(_array(head) / 255, head.affine, affine, shape)
    return Template(t1, _most_likely((1 - np.sum(groups, axis=0), *groups)), COLIN27_LABELS, affine)


def _package_folder(name: str) -> Path:
    """Folder of an installed package, found without the cost of importing it."""
    spec = find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise InvalidRequestError(
            f"Sample cases need the files inside the package {name}, which is not installed: `make setup`."
        )
    return Path(next(iter(spec.submodule_search_locations)))


def _array(volume: nib.Nifti1Image) -> npt.NDArray[np.float32]:
    return np.asarray(volume.dataobj, dtype=np.float32)


def _apply(affine: npt.NDArray[np.float64], points: npt.NDArray[np.integer]) -> npt.NDArray[np.float64]:
    return points @ affine[:3, :3].T + affine[:3, 3]


def _grid(volume: nib.Nifti1Image, spacing_mm: float) -> tuple[npt.NDArray[np.float64], tuple[int, int, int]]:
    """Affine (LPS) and shape of the field of view, its centre on the middle of what is not air."""
    bright = np.argwhere(_array(volume) > 0)
    middle = (bright.min(axis=0) + bright.max(axis=0)) / 2
    centre_lps = (_RAS_TO_LPS @ volume.affine @ np.append(middle, 1.0))[:3]
    counts = np.round(np.array(FIELD_OF_VIEW_MM) / spacing_mm).astype(int)
    affine = np.diag([spacing_mm, spacing_mm, spacing_mm, 1.0])
    affine[:3, 3] = centre_lps - spacing_mm * (counts - 1) / 2
    return affine, (int(counts[0]), int(counts[1]), int(counts[2]))


def _resampled(
    values: npt.NDArray[np.floating],
    source_ras: npt.NDArray[np.float64],
    target_lps: npt.NDArray[np.float64],
    shape: tuple[int, int, int],
) -> npt.NDArray[np.float32]:
    """Values on another grid: blurred to its spacing first, so that thin folds don't alias; 0 outside."""
    # A 1 mm template seen through voxels of s mm: a Gaussian of 0.4 s mm keeps most of what they can hold.
    smooth = gaussian_filter(values, 0.4 * target_lps[0, 0], truncate=2.5)
    to_source = np.linalg.inv(source_ras) @ _RAS_TO_LPS @ target_lps
    sampled = affine_transform(smooth, to_source[:3, :3], to_source[:3, 3], shape, order=1)
    return np.asarray(sampled, dtype=np.float32)


def _most_likely(shares: Sequence[npt.NDArray[np.floating]]) -> npt.NDArray[np.uint8]:
    """Index of the largest share of each voxel; the first one is background."""
    likely: npt.NDArray[np.intp] = np.argmax(np.stack(shares), axis=0)
    return likely.astype(np.uint8)

"""A volume in memory, read from and written to files."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from numpy.typing import NDArray

from configs.errors import InvalidRequestError, MismatchError
from infra.adapters.images.base import MOST_BYTES
from tasks.images.bounds import UNREADABLE
from tasks.images.dicom import read_series
from tasks.images.geometry import RAS_FROM_LPS, Affine, Geometry
from tasks.images.metaimage import open_metaimage, read_voxels
from tasks.images.nifti import DAMAGE, open_nifti
from tasks.images.nrrd import open_nrrd

NRRD = (".nrrd",)
METAIMAGE = (".mha",)
PICTURE = (".png", ".tif")


@dataclass(frozen=True)
class Volume:
    """Voxels and where they lie.

    Args:
        array: Values, axes (i, j, k).
        affine: 4 x 4, index → LPS mm.
        notes: What a file's header says besides, such as a Slicer segmentation's names.
    """

    array: NDArray[Any]
    affine: Affine
    notes: Mapping[str, str] = field(default_factory=dict)

    @property
    def geometry(self) -> Geometry:
        """The grid."""
        i, j, k = self.array.shape
        return Geometry((i, j, k), self.affine)


def read_volume(path: Path, most_bytes: int = MOST_BYTES) -> Volume:
    """Read a NIfTI, NRRD or MetaImage file, or a folder with the instances of one DICOM series.

    Args:
        path: The file or folder.
        most_bytes: What its voxels may take in memory; checked by the header, before they are read.

    Returns:
        Stored values with the file's scale factors applied; the file's own index order.

    Raises:
        InvalidRequestError: If it cannot be read, or is too large.
        MismatchError: If it has not three axes.
    """
    if path.is_dir():
        return Volume(*read_series(path, most_bytes=most_bytes))
    if path.name.endswith(METAIMAGE):
        whole = open_metaimage(path, most_bytes)
        _refuse_components(whole.components)
        return Volume(read_voxels(whole).reshape(_shape(whole.shape), order="F"), whole.affine, whole.fields)
    if path.name.endswith(NRRD):
        return _read_nrrd(path, most_bytes)
    image = open_nifti(path, most_bytes)
    try:
        array = np.asanyarray(image.dataobj)
    except DAMAGE:
        raise InvalidRequestError(UNREADABLE) from None
    return Volume(array.reshape(_shape(image.shape)), _lps(image))


def read_geometry(path: Path, most_bytes: int = MOST_BYTES, channels: bool = False) -> Geometry:
    """Read the grid of a file from its header alone; with *channels* a NIfTI file may have a fourth axis.

    Raises:
        InvalidRequestError: If it cannot be read, or announces more voxels than are there or allowed.
        MismatchError: If it has not three axes.
    """
    if path.name.endswith(PICTURE):
        from tasks.images.picture import picture_geometry  # noqa: PLC0415 - only data sets of pictures need Pillow

        return picture_geometry(path)
    if path.name.endswith(METAIMAGE):
        whole = open_metaimage(path, most_bytes)
        _refuse_components(whole.components)
        return Geometry(_shape(whole.shape), whole.affine)
    if not path.name.endswith(NRRD):
        image = open_nifti(path, most_bytes)
        return Geometry(_shape(image.shape[:3] if channels else image.shape), _lps(image))

    reader = open_nrrd(path, most_bytes)
    _refuse_components(reader.GetNumberOfComponents())
    return Geometry(_shape(reader.GetSize()), _itk_affine(reader))


def write_nifti(volume: Volume, path: Path) -> None:
    """Write the volume as NIfTI (RAS header), compressed if the name ends in `.gz`; the same voxels in the same order.

    64-bit integers become 32-bit, and 64-bit floats 32-bit: what readers of NIfTI can be trusted to know.
    """
    array = volume.array
    narrower = {"int64": np.int32, "uint64": np.uint32, "float64": np.float32, "bool": np.uint8}
    array = array.astype(narrower.get(array.dtype.name, array.dtype), copy=False)
    ras = RAS_FROM_LPS @ volume.affine
    image = nibabel.Nifti1Image(array, ras)
    image.set_sform(ras, code=1)
    image.set_qform(ras, code=1)
    image.header.set_xyzt_units("mm")
    nibabel.save(image, path)


def _lps(image: Any) -> Affine:
    affine: Affine = RAS_FROM_LPS @ np.asarray(image.affine, dtype=np.float64)
    return affine


def _shape(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Return the three sizes; further axes have to be of length 1, missing ones are."""
    sizes = (*shape, 1, 1)[: max(3, len(shape))]
    if any(size != 1 for size in sizes[3:]) or 0 in sizes:
        raise MismatchError(f"The file has axes of {' x '.join(map(str, shape))}: give a volume of three axes")
    return sizes[0], sizes[1], sizes[2]


def _refuse_components(count: int) -> None:
    if count != 1:
        raise MismatchError(
            f"The file has {count} values per voxel: give one, with overlapping segments in files apart"
        )


def _read_nrrd(path: Path, most_bytes: int) -> Volume:
    import SimpleITK  # noqa: PLC0415 - 100 MB in every process that never sees one

    reader = open_nrrd(path, most_bytes)
    _refuse_components(reader.GetNumberOfComponents())
    try:
        image = reader.Execute()
    except RuntimeError:  # its text holds the path
        raise InvalidRequestError(UNREADABLE) from None
    array = SimpleITK.GetArrayFromImage(image).T
    notes = {key: image.GetMetaData(key) for key in image.GetMetaDataKeys()}
    return Volume(array.reshape(_shape(array.shape)), _itk_affine(image), notes)


def _itk_affine(image: Any) -> Affine:
    """ITK's geometry is LPS already."""
    dimension = image.GetDimension()
    direction = np.array(image.GetDirection()).reshape(dimension, dimension)
    affine = np.eye(4)
    size = min(dimension, 3)
    affine[:size, :size] = (direction * np.array(image.GetSpacing()))[:size, :size]
    affine[:size, 3] = image.GetOrigin()[:size]
    return affine

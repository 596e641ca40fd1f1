"""A volume in memory, read from and written to files."""

import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import SimpleITK
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError
from nibabel.wrapstruct import WrapStructError
from numpy.typing import NDArray

from configs.errors import InvalidRequestError, MismatchError
from tasks.images.dicom import read_series
from tasks.images.geometry import RAS_FROM_LPS, Affine, Geometry

NIFTI = (".nii.gz", ".nii")
NRRD = (".nrrd",)
_DAMAGE = (OSError, EOFError, ValueError, zlib.error, ImageFileError, WrapStructError, HeaderDataError)
_UNREADABLE = "The file is no volume that can be read: give NIfTI (.nii, .nii.gz) or NRRD (.nrrd) with three axes"


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


def read_volume(path: Path) -> Volume:
    """Read a NIfTI or NRRD file, or a folder with the instances of one DICOM series.

    Returns:
        Stored values with the file's scale factors applied; the file's own index order.

    Raises:
        InvalidRequestError: If it cannot be read.
        MismatchError: If it has not three axes.
    """
    if path.is_dir():
        return Volume(*read_series(path))
    if path.name.endswith(NRRD):
        return _read_nrrd(path)
    image = _open_nifti(path)
    try:
        array = np.asanyarray(image.dataobj)
    except _DAMAGE:
        raise InvalidRequestError(_UNREADABLE) from None
    return Volume(array.reshape(_shape(image.shape)), _lps(image))


def read_geometry(path: Path) -> Geometry:
    """Read the grid of a NIfTI or NRRD file from its header alone.

    Raises:
        InvalidRequestError: If it cannot be read.
        MismatchError: If it has not three axes.
    """
    if not path.name.endswith(NRRD):
        image = _open_nifti(path)
        return Geometry(_shape(image.shape), _lps(image))
    reader = _nrrd_reader(path)
    try:
        reader.ReadImageInformation()
    except RuntimeError:  # its text holds the path
        raise InvalidRequestError(_UNREADABLE) from None
    size = reader.GetSize()
    _refuse_components(reader.GetNumberOfComponents())
    return Geometry(_shape(size), _itk_affine(reader))


def nifti_bytes(path: Path) -> int:
    """Return how long a NIfTI file is, unpacked, by its header: up to its last voxel.

    Raises:
        InvalidRequestError: If it cannot be read.
    """
    voxels = _open_nifti(path).dataobj
    return int(voxels.offset + math.prod(voxels.shape) * voxels.dtype.itemsize)


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


def _open_nifti(path: Path) -> Any:
    if not path.name.endswith(NIFTI):
        raise InvalidRequestError(_UNREADABLE)
    try:
        return nibabel.Nifti1Image.from_filename(path)
    except _DAMAGE:
        pass
    try:
        return nibabel.Nifti2Image.from_filename(path)
    except _DAMAGE:
        raise InvalidRequestError(_UNREADABLE) from None


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


def _nrrd_reader(path: Path) -> Any:
    reader = SimpleITK.ImageFileReader()
    reader.SetImageIO("NrrdImageIO")
    reader.SetFileName(str(path))
    return reader


def _read_nrrd(path: Path) -> Volume:
    try:
        image = _nrrd_reader(path).Execute()
    except RuntimeError:  # its text holds the path
        raise InvalidRequestError(_UNREADABLE) from None
    _refuse_components(image.GetNumberOfComponentsPerPixel())
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

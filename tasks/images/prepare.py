"""An image on this host as the file that bundle hosts read: fetched and converted once."""

import shutil
import zipfile
from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path

from isal import igzip, isal_zlib
from pydantic import BaseModel, ConfigDict, Field
from pydicom.dataset import Dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian

from configs.errors import ConflictError, InvalidRequestError
from configs.specs.dataset import OnGap
from infra.adapters.cache.disk import Cache
from infra.adapters.images.base import MOST_BYTES, PICTURES, ZIPPED, ImageSource
from tasks.images.channels import CHANNELS, add_channels
from tasks.images.dicom import volume_from
from tasks.images.geometry import Geometry
from tasks.images.nifti import NIFTI, nifti_bytes
from tasks.images.slices import HEADERS, frame_of_reference, instance_files, read_instances
from tasks.images.volume import Volume, read_geometry, read_volume, write_nifti
from tasks.images.zipped import unzip_series

FORMAT = "nii-4"
"""Part of the cache's key: changes when what is written here does."""
PICTURE = "image.png"
_CHUNK_BYTES = 2**20
_DAMAGE: tuple[type[Exception], ...] = (igzip.BadGzipFile, EOFError, isal_zlib.error)  # type: ignore[assignment]  # its stub says that the last is an instance
_SCALED = 8  # bytes that one of a file's can become by its scale factors
_PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
_EXPLICIT, _IMPLICIT = 12, 8  # bytes from the beginning of such an element to its value


class LocalImage(BaseModel):
    """An image as a bundle host reads it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: Path
    sha256: str
    headers: Path | None = Field(default=None, description="A DICOM image's instances without their pixels, in a zip.")
    frame_of_reference: str = Field(default="", description="FrameOfReferenceUID, if it has one; never logged.")
    others: list[Path] = Field(default=[], description="Files of its further channels, on the grid of `path`.")

    @property
    def files(self) -> list[Path]:
        """What a bundle host reads: a file for each channel."""
        return [self.path, *self.others]

    @property
    def is_picture(self) -> bool:
        """Whether it is a 2-D picture, which bundle hosts read with two axes."""
        return self.path.name == PICTURE

    def geometry(self) -> Geometry:
        """Return its grid, and what its coordinates refer to.

        Raises:
            InvalidRequestError: If it cannot be read.
        """
        most_bytes = _SCALED * self.path.stat().st_size
        grid = read_geometry(self.path, most_bytes=most_bytes, channels=True)
        return Geometry(grid.shape, grid.affine, self.frame_of_reference)


def local_image(
    store: ImageSource,
    cache: Cache,
    key: str,
    fingerprint: str,
    *,
    on_fetch: Callable[[], None] | None = None,
    on_ready: Callable[[], None] | None = None,
    most_bytes: int = MOST_BYTES,
) -> LocalImage:
    """Return the image as an uncompressed `.nii` of this host's cache, and the sha256 of what the store holds.

    A 2-D picture (PNG, JPEG, TIFF) is a `.png` there, as `tasks.images.picture` writes it.

    Args:
        store: Where the image is.
        cache: This host's cache; a pin of it where the file is used for longer than a moment.
        key: The image's key in the store.
        fingerprint: The image's fingerprint when it was listed.
        on_fetch: Called when the store gave the image, before it is converted; not if the cache had it.
        on_ready: Called when it was converted; not if the cache had it.
        most_bytes: What its voxels may take in memory, by its header.

    Raises:
        NotFoundError: If the store has no such image any more.
        ConflictError: If the store's image has changed since it was listed.
        InvalidRequestError: If it is no volume; the reason may be shown and logged.
        DamagedImageError: If the store answers, but cannot give this image.
        StoreError: If the store cannot be read.
    """

    def fill(folder: Path) -> None:
        """Fetch the image and write what bundle hosts and labels need of it."""
        source = folder / "source"
        source.mkdir()
        fetched = store.fetch(key, source)
        if store.image(key).fingerprint != fingerprint:
            raise ConflictError("The image has changed in the store since it was listed: list the data set again")
        if on_fetch is not None:
            on_fetch()
        (folder / "sha256").write_text(fetched.sha256)
        path, *others = [_unpacked(each, most_bytes) for each in fetched.paths]
        if path.is_dir():
            _convert_series(path, folder, store.on_gap, most_bytes)
        elif path.suffix in PICTURES:
            from tasks.images.picture import convert_picture  # noqa: PLC0415 - only data sets of pictures need Pillow

            convert_picture(path, folder / PICTURE)
        else:
            _convert(path, folder / "image.nii", most_bytes)
        if others:
            add_channels(others, folder, _local(folder).geometry(), store.on_gap, most_bytes)
        shutil.rmtree(source)
        if on_ready is not None:
            on_ready()

    return _local(cache.get("raw", cache_key(store, key, fingerprint), fill))


def _local(folder: Path) -> LocalImage:
    headers, frame, sha256 = folder / HEADERS, folder / "frame", folder / "sha256"
    picture = folder / PICTURE
    return LocalImage(
        path=picture if picture.exists() else folder / "image.nii",
        sha256=sha256.read_text(),
        headers=headers if headers.exists() else None,
        frame_of_reference=frame.read_text() if frame.exists() else "",
        others=sorted(folder.glob(CHANNELS)),
    )


def cache_key(store: ImageSource, key: str, fingerprint: str) -> str:
    """Return the key under which `local_image` keeps this image, for dropping it."""
    return f"{FORMAT}\n{store.identity}\n{store.on_gap}\n{key}\n{fingerprint}"


def _convert_series(source: Path, folder: Path, on_gap: OnGap, most_bytes: int) -> None:
    """Write the volume, and beside it what a label has to know of the series."""
    instances = read_instances(source, most_bytes=most_bytes)
    write_nifti(Volume(*volume_from(instances, on_gap, most_bytes)), folder / "image.nii")
    (folder / "frame").write_text(frame_of_reference(instances))
    _keep_headers(source, instances, folder / HEADERS)


def _keep_headers(source: Path, instances: Sequence[Dataset], target: Path) -> None:
    """Keep what stands before the pixels, byte for byte, in one file: to write each instance anew takes a second."""
    with zipfile.ZipFile(target, "x") as kept:
        for path, instance in zip(instance_files(source), instances, strict=True):
            kept.writestr(path.name, _header_of(path, instance))


def _header_of(path: Path, instance: Dataset) -> bytes:
    pixels = next((instance[name] for name in _PIXELS if name in instance), None)
    deflated = instance.file_meta.TransferSyntaxUID == DeflatedExplicitVRLittleEndian
    if pixels is not None and pixels.file_tell and not deflated:
        with path.open("rb") as file:
            return file.read(pixels.file_tell - (_IMPLICIT if instance.original_encoding[0] else _EXPLICIT))
    for name in _PIXELS:
        if name in instance:
            delattr(instance, name)
    with BytesIO() as buffer:
        instance.save_as(buffer, enforce_file_format=True)
        return buffer.getvalue()


def _unpacked(source: Path, most_bytes: int) -> Path:
    """Return the folder of a series that came zipped; anything else as it came."""
    if source.suffix != ZIPPED:
        return source
    folder = source.with_suffix("")
    folder.mkdir()
    unzip_series(source, folder, most_bytes)
    return folder


def _convert(source: Path, target: Path, most_bytes: int) -> None:
    """Write the volume as uncompressed NIfTI; a NIfTI file keeps its header and all its axes."""
    if not source.name.endswith(NIFTI):
        write_nifti(read_volume(source, most_bytes), target)
        return
    size = nifti_bytes(source, most_bytes)
    if source.name.endswith(".nii"):
        source.rename(target)
    else:
        _unpack(source, target, size)
    if target.stat().st_size < size:
        raise InvalidRequestError("The image's file ends before its last voxel: store it again")


def _unpack(source: Path, target: Path, size: int) -> None:
    """Unpack as much as the header promises: what packs a thousandfold must not fill the disk."""
    try:
        with igzip.open(source) as packed, target.open("xb") as plain:
            while size > 0 and (chunk := packed.read(min(size, _CHUNK_BYTES))):
                size -= plain.write(chunk)
    except _DAMAGE as error:  # no other OSError: a full disk is not the image's fault
        msg = f"The image's file cannot be unpacked ({type(error).__name__}): store it again"
        raise InvalidRequestError(msg) from None

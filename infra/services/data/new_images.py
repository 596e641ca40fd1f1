"""Images that clients add to a data set's own store."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

from configs.errors import InvalidRequestError
from infra.adapters.catalog import audit, datasets
from infra.adapters.images.base import PICTURES, ZIPPED, Growing
from infra.adapters.images.folder_series import image_header
from infra.adapters.images.metaimage import SPLIT
from infra.services.callers import Caller, Right, allow
from infra.services.data.uploads import Sent, name_of, written
from infra.wiring import Parts
from tasks.images.addressed import DICOM, ending_of
from tasks.images.stores import store_of
from tasks.images.sync import take_in
from tasks.images.volume import read_geometry
from tasks.images.zipped import unzip_series

_SERIES = (DICOM, ZIPPED)


def add(parts: Parts, caller: Caller, dataset_id: str, files: Sequence[Sent], key: str = "") -> str:
    """Put an image into the data set's store, and return its id there.

    Args:
        parts: The adapters.
        caller: Who adds it.
        dataset_id: The data set.
        files: One file, a zip of a DICOM series, or its files.
        key: Its id; empty = a series' SeriesInstanceUID, or what the file is called.

    Raises:
        ForbiddenError: If the caller may not.
        NotFoundError: If there is no such data set.
        InvalidRequestError: If it is no image that can be read, or its store takes none, or none of this id.
        ConflictError: If the id is taken by other content.
        StoreError: If the store could not be written now.
    """
    allow(caller, Right.ANNOTATE)
    with parts.catalog.read() as session:
        datasets.get(session, caller.org, dataset_id)
    store = store_of(parts, dataset_id)
    if not isinstance(store, Growing):
        raise InvalidRequestError(
            "Images of this data set are listed in its manifest: put them into its store, and name them there"
        )
    with tempfile.TemporaryDirectory(prefix="image-") as folder:
        source, name = _readable(parts, files, Path(folder))
        stored = store.put_image(key or name, source)
    take_in(parts, dataset_id, store, stored)
    with parts.catalog.write() as session:
        audit.record(session, caller.org, caller.subject, "image.add", dataset_id)
    return stored.key


def _readable(parts: Parts, files: Sequence[Sent], folder: Path) -> tuple[Path, str]:
    """Write what was sent, look at its header, and return it with the name that it has by itself."""
    name, most_bytes = name_of(files), parts.settings.volume_bytes
    ending = ending_of(name)
    if ending == SPLIT:
        raise InvalidRequestError("An .mhd file has its voxels in another file: send the image as .mha")
    source = written(files, folder / f"image{ending}")
    if ending == DICOM:
        (folder / "series").mkdir()
        source = source.rename(folder / "series" / source.name)
    elif ending == ZIPPED:
        (folder / "series").mkdir()
        unzip_series(source, folder / "series", most_bytes)
    if ending in _SERIES:
        header = image_header(next(iter((folder / "series").iterdir())))
        if header is None:
            raise InvalidRequestError("The file is no instance of a DICOM image: send those of one series")
        return folder / "series", str(header.SeriesInstanceUID)
    if ending in PICTURES:
        from tasks.images.picture import convert_picture  # noqa: PLC0415 - only data sets of pictures need Pillow

        convert_picture(source, folder / "looked-at.png")
    else:
        read_geometry(source, most_bytes, channels=True)
    return source, name[: -len(ending)]

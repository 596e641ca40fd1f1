"""The headers of a DICOM image's slices, which a SEG of it refers to."""

import tempfile
from pathlib import Path

from pydicom import Dataset

from infra.adapters.images.base import ImageStore
from tasks.images.slices import read_instances


def series_headers(store: ImageStore, key: str) -> list[Dataset] | None:
    """Return the slices' headers without pixels, in no promised order; None if the image is not DICOM.

    Raises:
        NotFoundError: If the store has no such image.
        StoreError: If the store cannot be read.
    """
    with tempfile.TemporaryDirectory(prefix="series-") as folder:
        [path] = store.fetch(key, Path(folder)).paths
        if not path.is_dir():
            return None
        return read_instances(path, pixels=False)

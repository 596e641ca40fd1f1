"""The headers of a DICOM image's slices, which a SEG of it refers to."""

from pydicom.dataset import Dataset

from infra.adapters.catalog import images
from infra.wiring import Parts
from tasks.images.slices import read_headers
from tasks.images.stores import image_of, store_of


def series_headers(parts: Parts, dataset_id: str, key: str) -> list[Dataset] | None:
    """Return the slices' headers without pixels, in no promised order; None if the image is not DICOM.

    They were kept when the image came to this host: saving a label fetches no series again.

    Raises:
        NotFoundError: If there is no such image.
        StoreError: If it was not kept, and the store cannot be read.
    """
    with parts.catalog.read() as session:
        image = images.by_key(session, dataset_id, key)
    with parts.cache.pin() as pin:
        kept = image_of(parts, store_of(parts, dataset_id), image, pin).headers
        return None if kept is None else read_headers(kept)

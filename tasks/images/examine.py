"""What listed series are, told by their headers before anybody is asked to annotate them."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import NamedTuple

from pydicom.dataset import Dataset

from configs.errors import DamagedImageError, NotFoundError, NoVolumeError
from configs.specs.dataset import OnGap
from infra.adapters.images.base import ImageStore, StoredImage
from tasks.images.verdict import volume_of

AT_ONCE = 4
_SURELY_VOLUMES = frozenset({"CT", "MR", "PT"})
_INCOMPLETE = frozenset({"no image", "no position"})


class Examined(NamedTuple):
    """Why an image cannot be annotated, and what is done to it if it can; empty where there is nothing to say."""

    skipped: str = ""
    resampled: str = ""


def examine(store: ImageStore, images: Sequence[StoredImage]) -> dict[str, Examined]:
    """Look at the headers of images that are new or have changed: one request for each DICOM series.

    Raises:
        StoreError: If the store cannot be read.
    """
    # A share for each thread: handing a thread one image takes longer than a store that is not asked about it.
    shares = [images[first::AT_ONCE] for first in range(AT_ONCE)]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return {key: found for share in pool.map(partial(_examine_all, store), shares) for key, found in share.items()}


def _examine_all(store: ImageStore, images: Sequence[StoredImage]) -> dict[str, Examined]:
    return {image.key: _examine(store, image) for image in images}


def _examine(store: ImageStore, image: StoredImage) -> Examined:
    if image.skipped:
        return Examined(skipped=image.skipped)
    try:
        headers = store.headers(image.key)
    except (DamagedImageError, NotFoundError):
        return Examined()  # it shows when the image is read, and may pass until then
    return _of_series(headers, store.on_gap) if headers else Examined()


def _of_series(headers: Sequence[Dataset], on_gap: OnGap) -> Examined:
    try:
        return Examined(resampled="; ".join(volume_of(headers, on_gap).faults))
    except NoVolumeError as error:
        # Some servers leave elements out of their metadata; the image itself has what its kind demands.
        told = error.kind in _INCOMPLETE and headers[0].get("Modality", "") in _SURELY_VOLUMES
        return Examined() if told else Examined(skipped=str(error))

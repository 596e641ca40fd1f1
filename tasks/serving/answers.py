"""What lies around a prediction: the image before it, the file and the cache after it."""

import gzip
from collections import OrderedDict
from pathlib import Path
from threading import Lock

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError
from sqlalchemy.exc import SQLAlchemyError

from configs.errors import BundleError, InvalidRequestError, NotFoundError, UpstreamError
from configs.kinds import LabelKind
from configs.specs.infer import InferSpec
from configs.wire.answers import ANSWERS
from configs.wire.slot import LabelForm
from infra.adapters.cache.disk import Cache, Kind
from infra.adapters.catalog import images
from infra.adapters.catalog.tables import Image
from infra.adapters.images.base import ImageSource, ImageStore
from infra.wiring import Parts
from tasks.images.addressed import AddressedImage
from tasks.images.forget import OWNER_FILE
from tasks.images.prepare import LocalImage, local_image
from tasks.images.stores import image_of, store_of
from tasks.images.uploads import UploadedImage, is_upload
from tasks.images.volume import Volume, read_geometry, read_volume, write_nifti
from tasks.labels.forms.write import to_nrrd

# Keys alone, a hundred bytes each.
_REMEMBERED = 4096
_KIND: Kind = "prediction"
_MOST_JSON_BYTES = 16 * 2**20


class Origin(BaseModel):
    """Where an answer comes from, and what it is. `score` is the model's uncertainty, where it says one."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: str
    score: float | None
    kind: LabelKind = "mask"


class SlotImages:
    """The images that a slot is asked for. What was seen once is found while the catalog is away.

    Args:
        parts: This process's.
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._seen: OrderedDict[tuple[str, int], Image] = OrderedDict()
        self._stores: dict[str, ImageStore] = {}
        self._lock = Lock()

    def find(self, dataset_id: str, image_id: int) -> Image:
        """Return the image's row.

        Raises:
            NotFoundError: If the data set has no such image.
            UpstreamError: If the catalog is away and the image was not seen before.
        """
        try:
            with self._parts.catalog.read() as session:
                image = images.get(session, image_id)
        except SQLAlchemyError:
            known = self._seen.get((dataset_id, image_id))
            if known is None:
                raise UpstreamError("The catalog cannot be reached now: ask again") from None
            return known
        if image.dataset_id != dataset_id:
            raise NotFoundError("image", str(image_id))
        with self._lock:
            self._seen[dataset_id, image_id] = image
            self._seen.move_to_end((dataset_id, image_id))
            if len(self._seen) > _REMEMBERED:
                self._seen.popitem(last=False)
        return image

    def behind(self, address: str) -> Image:
        """Return a row, which no catalog has, for the image behind an address as it is now.

        Raises:
            InvalidRequestError: If the address cannot be asked, or may not.
        """
        return Image(id=0, dataset_id="", key=address, fingerprint=self._addressed(address).image("image").fingerprint)

    def local(self, image: Image, cache: Cache) -> LocalImage:
        """Return the image as a file of this host; raises as `tasks.images.stores.image_of`."""
        if not image.dataset_id:
            source, most = self._addressed(image.key, image.fingerprint), self._parts.settings.volume_bytes
            return local_image(source, cache, "image", image.fingerprint, most_bytes=most)
        return image_of(self._parts, self._store(image.dataset_id), image, cache)

    def _addressed(self, address: str, once: str = "") -> ImageSource:
        if is_upload(address):
            return UploadedImage(address, self._parts.blobs)
        settings = self._parts.settings
        return AddressedImage(address, self._parts.egress.session(), settings.volume_bytes, once)

    def _store(self, dataset_id: str) -> ImageStore:
        try:
            self._stores[dataset_id] = store_of(self._parts, dataset_id)
        except SQLAlchemyError:
            if dataset_id not in self._stores:
                raise UpstreamError("The catalog cannot be reached now: ask again") from None
        return self._stores[dataset_id]


def prediction_key(image: Image, version_id: str, spec: InferSpec, form: LabelForm) -> str:
    """Return what a kept prediction is known by: data set, content of the image, version, prompts, form of the file."""
    # The spec's text keeps the order of its parameters: two orders are two entries, which does no harm.
    asked = f"{version_id}\n{spec.model_dump_json()}\n{form}"
    return f"{image.dataset_id}\n{image.key}\n{image.fingerprint}\n{asked}"


def kept(parts: Parts, key: str) -> tuple[bytes, Origin] | None:
    """Return a prediction that was made before, if this host still has it."""
    folder = parts.cache.find(_KIND, key)
    if folder is None:
        return None
    try:
        content = (folder / "label").read_bytes()
        return content, Origin.model_validate_json((folder / "origin.json").read_bytes())
    except FileNotFoundError:
        return None  # evicted while we read


def keep(parts: Parts, key: str, content: bytes, origin: Origin) -> None:
    """Keep a prediction for those who ask again."""

    def fill(folder: Path) -> None:
        """Write the answer, whose it is, and where it comes from."""
        (folder / "label").write_bytes(content)
        (folder / OWNER_FILE).write_text(key.partition("\n")[0])
        (folder / "origin.json").write_text(origin.model_dump_json())

    parts.cache.get(_KIND, key, fill)


def encoded(answer: Path, image: Path, form: LabelForm) -> tuple[bytes, LabelKind]:
    """Return what a host answered as the file that was asked for, and its kind; what is no label map is JSON.

    Args: as of `encode`.

    Raises:
        BundleError: If it is no answer that we know.
    """
    if answer.suffix != ".json":
        return encode(answer, image, form), "mask"
    try:
        if answer.stat().st_size > _MOST_JSON_BYTES:
            raise BundleError(f"The bundle's host wrote an answer of more than {_MOST_JSON_BYTES} bytes")
        said = ANSWERS.validate_json(answer.read_bytes())
    except ValidationError:
        raise BundleError("The bundle's host wrote JSON that is no answer") from None
    return said.model_dump_json(by_alias=True).encode(), said.kind


def encode(label: Path, image: Path, form: LabelForm) -> bytes:
    """Return a host's label map as the file that was asked for: uint8, in the geometry of the image (LPS).

    Args:
        label: `.nii` or `.nii.gz` that a bundle host wrote.
        image: The image that it was given.
        form: `nrrd` (gzip-encoded), or `nifti` (`.nii.gz`).

    Raises:
        BundleError: If it is no label map on the image's grid.
    """
    volume = read_volume(label)
    try:
        grid = read_geometry(image, channels=True)
    except InvalidRequestError:
        grid = volume.geometry  # an image with channels: its label map alone has three axes
    if volume.array.shape != grid.shape or volume.array.dtype != np.uint8:
        raise BundleError(
            f"The bundle answered {volume.array.dtype} voxels of {volume.array.shape} for an image of {grid.shape}:"
            " a uint8 label map on the image's grid was expected"
        )
    on_image = Volume(volume.array, grid.affine)
    if form == "nrrd":
        return to_nrrd(on_image)
    plain = label.with_name(f"{label.name}.answer.nii")
    try:
        write_nifti(on_image, plain)
        return gzip.compress(plain.read_bytes(), compresslevel=1, mtime=0)
    finally:
        plain.unlink(missing_ok=True)

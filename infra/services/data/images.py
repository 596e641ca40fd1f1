"""Images of a data set: the next one to label, and their files."""

import hashlib
import logging
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from configs.errors import ConflictError, InvalidRequestError, NotFoundError, StoreError, UpstreamError
from configs.specs.dataset import DatasetSpec
from configs.specs.score import AnyStrategy
from infra.adapters.catalog import audit
from infra.adapters.catalog import datasets as dataset_catalog
from infra.adapters.catalog import experiments as experiment_catalog
from infra.adapters.catalog import images as catalog
from infra.adapters.catalog.tables import Image
from infra.services.callers import Caller, Right, allow
from infra.services.data.freshness import look_again
from infra.wiring import Parts
from tasks.images.nifti import NIFTI
from tasks.images.stores import image_of, store_of
from tasks.selection import back
from tasks.selection import skip as skipping
from tasks.selection.leases import is_due, touch_lease
from tasks.selection.next_image import AsksAppError, Choice, next_image
from tasks.selection.of_app import choose_now

DELETED = "deleted: a person deleted it"
_CHECKSUMS = ("sha256", "sha512", "md5")
_OPENED = (*NIFTI, ".nrrd")  # what 3D Slicer reads on the grid on which we do
_log = logging.getLogger(__name__)


class NoImageLeftError(NotFoundError):
    """Every image is labelled, skipped or with another annotator."""

    def __str__(self) -> str:
        return "No Unlabeled Images Found: every image is labelled, skipped or leased to another annotator"


@dataclass(frozen=True)
class NextImage:
    """What the next image is asked by; `client_id` tells several annotators with one key apart."""

    experiment_id: str | None = None
    strategy: AnyStrategy | None = None
    client_id: str = ""


@dataclass(frozen=True)
class ImageFile:
    """An image as a file of this host; `name` is what a person saves it as."""

    path: Path
    name: str


def take_next(parts: Parts, caller: Caller, dataset_id: str, asked: NextImage) -> Image:
    """Lease the next image to the caller.

    Raises:
        NotFoundError: If the organisation has no such data set or experiment, or no image is left.
    """
    allow(caller, Right.ANNOTATE)
    parts.expect_hosts()
    choice = None
    try:
        found = _lease(parts, caller, dataset_id, asked)
    except AsksAppError as first:
        choice = Choice(choose_now(parts, first.experiment_id, dataset_id, first.strategy))
        found = _lease(parts, caller, dataset_id, asked, choice)
    # Only when nothing is left: to list a store again takes seconds.
    if found is None and look_again(parts, dataset_id):
        found = _lease(parts, caller, dataset_id, asked, choice)
    if found is None:
        raise NoImageLeftError("unlabelled image", dataset_id)
    return found


def _lease(
    parts: Parts, caller: Caller, dataset_id: str, asked: NextImage, choice: Choice | None = None
) -> Image | None:
    with parts.catalog.write() as session:
        dataset = dataset_catalog.get(session, caller.org, dataset_id)
        if asked.experiment_id is not None:
            experiment_catalog.get(session, caller.org, asked.experiment_id)
        try:
            return next_image(
                session,
                dataset.id,
                holder=holder_of(caller, asked.client_id),
                experiment_id=asked.experiment_id,
                strategy=asked.strategy,
                lease_s=parts.settings.image_lease_s,
                max_leases=parts.settings.image_leases,
                choice=choice,
            )
        except NotFoundError:
            return None


def get(parts: Parts, caller: Caller, dataset_id: str, key: str) -> Image:
    """Return one image by its id in the data set.

    Raises:
        NotFoundError: If there is no such data set or image.
    """
    allow(caller, Right.READ)
    with parts.catalog.read() as session:
        dataset = dataset_catalog.get(session, caller.org, dataset_id)
        return catalog.by_key(session, dataset.id, key)


def skip(parts: Parts, caller: Caller, dataset_id: str, key: str, reason: str) -> Image:
    """Take an image out for everyone, until an engineer clears it; whoever has it needs it no longer.

    Raises:
        NotFoundError: If there is no such data set or image.
        InvalidRequestError: If there is no reason.
    """
    allow(caller, Right.ANNOTATE)
    with parts.catalog.write() as session:
        dataset = dataset_catalog.get(session, caller.org, dataset_id)
        image = catalog.by_key(session, dataset.id, key)
        if skipping.skip(session, image, reason, by=caller.subject):
            audit.record(session, caller.org, caller.subject, "image.skip", str(image.id))
        return image


def hide(parts: Parts, caller: Caller, dataset_id: str, key: str) -> Image:
    """Take an image out because somebody deleted it; its store keeps it, and an engineer may clear it as any other.

    Raises:
        ForbiddenError: If the caller may not.
        NotFoundError: If there is no such data set or image.
    """
    allow(caller, Right.MANAGE_DATASETS)
    return skip(parts, caller, dataset_id, key, DELETED)


def clear(parts: Parts, caller: Caller, dataset_id: str, key: str) -> Image:
    """Let a skipped image be given again.

    Raises:
        NotFoundError: If there is no such data set or image.
        ConflictError: If its store has it no longer.
    """
    allow(caller, Right.MANAGE_DATASETS)
    with parts.catalog.write() as session:
        dataset = dataset_catalog.get(session, caller.org, dataset_id)
        image = catalog.by_key(session, dataset.id, key)
        if skipping.clear(session, image):
            audit.record(session, caller.org, caller.subject, "image.clear", str(image.id))
        return image


def skipped(parts: Parts, caller: Caller, dataset_id: str, limit: int) -> Sequence[Image]:
    """Return the data set's skipped images with their reasons, by key.

    Raises:
        NotFoundError: If there is no such data set.
    """
    allow(caller, Right.READ)
    with parts.catalog.read() as session:
        dataset = dataset_catalog.get(session, caller.org, dataset_id)
        return skipping.skipped(session, dataset.id, limit=limit)


def cache(parts: Parts, caller: Caller, dataset_id: str, key: str, *, client_id: str = "") -> None:
    """Bring an image to this host's cache, and keep the caller's lease of it alive.

    An image that cannot be had now is not brought, which the log says: nobody waits for the answer.

    Raises:
        NotFoundError: If there is no such data set or image.
    """
    allow(caller, Right.ANNOTATE)
    image = get(parts, caller, dataset_id, key)
    touch(parts, caller, dataset_id, image.id, client_id)
    try:
        image_of(parts, store_of(parts, dataset_id), image)
    except (UpstreamError, InvalidRequestError, ConflictError) as error:
        _log.warning("image %s was not cached: %s", image.id, error)
    except NotFoundError:  # its text would name the series
        _log.warning("image %s was not cached: its store has it no longer", image.id)


def fetch(parts: Parts, caller: Caller, dataset_id: str, key: str, *, client_id: str = "") -> ImageFile:
    """Return an image as a file, and keep the caller's lease of it alive.

    Raises:
        NotFoundError: If there is no such data set or image.
        StoreError: If its store fails.
    """
    image = get(parts, caller, dataset_id, key)
    local = image_of(parts, store_of(parts, dataset_id), image)
    touch(parts, caller, dataset_id, image.id, client_id)
    return ImageFile(path=local.path, name=f"{basename(key)}{local.path.suffix}")


def path_of(parts: Parts, caller: Caller, image: Image) -> str:
    """Return what a client opens an image by: its one file in a folder, where only this machine is let in; else its id.

    Raises:
        NotFoundError: If the organisation has no such data set.
    """
    allow(caller, Right.READ)
    if not parts.settings.open_here:
        return image.key
    with parts.catalog.read() as session:
        spec = DatasetSpec.model_validate(dataset_catalog.get(session, caller.org, image.dataset_id).spec)
    if spec.kind != "folder":
        return image.key
    try:
        file = store_of(parts, image.dataset_id).image(image.key).file
    except (NotFoundError, StoreError):  # whoever fetches it is told why
        return image.key
    return str(Path(spec.url) / file) if file.lower().endswith(_OPENED) else image.key


def check(parts: Parts, caller: Caller, dataset_id: str, key: str, checksum: str = "") -> None:
    """Refuse an image that is not there, or whose file in its store has another checksum.

    Args:
        parts: The adapters.
        caller: Who asks.
        dataset_id: The data set.
        key: The image's id.
        checksum: `SHA256:hex`, `SHA512:hex`, `MD5:hex`, or the hex of SHA256; empty = any.

    Raises:
        NotFoundError: If there is no such data set or image, or it has another checksum.
        InvalidRequestError: If the checksum is of no kind that is computed here, or the image is several files.
    """
    get(parts, caller, dataset_id, key)
    if not checksum:
        return
    algorithm, _, wanted = checksum.rpartition(":")
    name = (algorithm or "SHA256").lower()
    if name not in _CHECKSUMS:
        raise InvalidRequestError(f"check_sum is of {algorithm!r}: {', '.join(_CHECKSUMS)} are computed here")
    with tempfile.TemporaryDirectory(prefix="image-") as folder:
        paths = store_of(parts, dataset_id).fetch(key, Path(folder)).paths
        if len(paths) != 1 or not paths[0].is_file():
            raise InvalidRequestError("This image is several files, which have no checksum together: ask without one")
        with paths[0].open("rb") as file:
            found = hashlib.file_digest(file, name).hexdigest()
    if found != wanted.lower():
        raise NotFoundError("image with this checksum", key)


def touch(parts: Parts, caller: Caller, dataset_id: str, image_id: int, client_id: str = "") -> None:
    """Keep the caller's lease of an image that they work on alive; at most one write in half a minute."""
    holder, lease_s = holder_of(caller, client_id), parts.settings.image_lease_s
    with parts.catalog.read() as session:
        if not is_due(session, dataset_id, image_id, holder, lease_s):
            return
    with parts.catalog.write() as session:
        touch_lease(session, dataset_id, image_id, holder, lease_s)


def reason_sent_back(parts: Parts, caller: Caller, image: Image, client_id: str = "") -> str:
    """Return why the caller's label of an image was sent back; empty if it was not."""
    allow(caller, Right.ANNOTATE)
    with parts.catalog.read() as session:
        return back.reason_sent_back(session, image.id, holder_of(caller, client_id))


def holder_of(caller: Caller, client_id: str) -> str:
    """Return the name under which leases are held."""
    return f"{caller.subject}/{client_id[:200]}" if client_id else caller.subject


def basename(key: str) -> str:
    """Return the last part of an image's id, safe as a file name in a header."""
    last = key.rsplit("/", 1)[-1]
    return "".join(character if character.isalnum() or character in "._-" else "_" for character in last) or "image"

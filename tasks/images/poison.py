"""An image that cannot be read is skipped after some tries, with the reason, so that nobody meets it for ever.

One that we read and a bundle's own code does not is skipped at the second failure, by a bundle that reads others.

It comes back when the store lists it with another fingerprint, or when an engineer clears it.
"""

import logging

from sqlalchemy import select, update
from sqlalchemy.exc import SQLAlchemyError

from configs.errors import DamagedImageError, NotFoundError, NoVolumeError, StoreError, TeachbackError, UnreadableError
from infra.adapters.catalog.tables import Image
from infra.adapters.images.base import ImageStore
from infra.wiring import Parts
from tasks.images import health
from tasks.selection.skip import skip

# A store that hiccups does so once or twice; annotators must not meet the same bad image for ever.
TRIES = 3
# We read it ourselves, so no store is to blame: once may have been a kill.
TRIES_OF_A_HOST = 2
UNREADABLE = "unreadable"
log = logging.getLogger(__name__)


def failed(parts: Parts, store: ImageStore, image: Image, error: TeachbackError) -> None:
    """Count a failure of the image's bytes; the third in a row, or one that is sure to come again, skips it.

    A store that gives no other image either is at fault itself: its data set is degraded, and no image is skipped.
    """
    sure = isinstance(error, NoVolumeError)
    try:
        last = sure or _counted(parts, image) >= TRIES
        if not last:
            return
        if isinstance(error, DamagedImageError) and not _gives_another(parts, store, image):
            health.degrade(parts, image.dataset_id, error)
            return
        reason = str(error) if sure else f"{UNREADABLE}: {error}"
        _skip(parts, image, reason)
    except SQLAlchemyError as problem:  # whoever reads it while the catalog is away is told of the image's fault alone
        log.warning("image %s: its failure could not be noted: %s", image.id, type(problem).__name__)


def unprepared(parts: Parts, image: Image, error: UnreadableError, *, reads_others: bool) -> None:
    """Count that a bundle host could not read an image that we gave it; the second time skips it.

    Args:
        parts: The adapters.
        image: The image.
        error: What the host said.
        reads_others: Whether this bundle has read another image; else it may be at fault itself.
    """
    try:
        if _counted(parts, image) >= TRIES_OF_A_HOST and reads_others:
            _skip(parts, image, f"{UNREADABLE}: {error}")
    except SQLAlchemyError as problem:  # as in `failed`
        log.warning("image %s: its failure could not be noted: %s", image.id, type(problem).__name__)


def succeeded(parts: Parts, image_id: int) -> None:
    """Forget earlier failures."""
    try:
        with parts.catalog.write() as session:
            session.execute(update(Image).where(Image.id == image_id).values(failures=0))
    except SQLAlchemyError as problem:
        log.warning("image %s: its success could not be noted: %s", image_id, type(problem).__name__)


def _skip(parts: Parts, image: Image, reason: str) -> None:
    with parts.catalog.write() as session:
        if skip(session, session.get_one(Image, image.id), reason):
            log.warning("image %s is skipped: %s", image.id, reason)


def _counted(parts: Parts, image: Image) -> int:
    """Count one failure and return how many there are; 0 if the image has changed since."""
    same = Image.id == image.id, Image.fingerprint == image.fingerprint
    count = update(Image).where(*same).values(failures=Image.failures + 1).returning(Image.failures)
    with parts.catalog.write() as session:
        return session.scalar(count) or 0


def _gives_another(parts: Parts, store: ImageStore, image: Image) -> bool:
    """Ask the store for the headers of another image; a data set of one image says nothing of its store."""
    others = Image.dataset_id == image.dataset_id, Image.id != image.id, Image.skipped_reason == ""
    with parts.catalog.read() as session:
        other = session.scalar(select(Image.key).where(*others).order_by(Image.shuffle).limit(1))
    if other is None:
        return True
    try:
        store.headers(other)
    except NotFoundError:
        return True
    except StoreError:
        return False
    return True

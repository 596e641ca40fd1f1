"""An image that cannot be read is skipped after some tries, with the reason, so that nobody meets it for ever.

It comes back when the store lists it with another fingerprint, or when an engineer clears it.
"""

import logging

from sqlalchemy import update
from sqlalchemy.exc import SQLAlchemyError

from configs.errors import NoVolumeError, TeachbackError
from infra.adapters.catalog.tables import Image
from infra.wiring import Parts
from tasks.selection.skip import skip

TRIES = 3
UNREADABLE = "unreadable"
log = logging.getLogger(__name__)


def failed(parts: Parts, image_id: int, fingerprint: str, error: TeachbackError) -> None:
    """Count a failure of the image's bytes; the third in a row, or one that is sure to come again, skips it."""
    sure = isinstance(error, NoVolumeError)
    reason = str(error) if sure else f"{UNREADABLE}: {error}"
    count = update(Image).where(Image.id == image_id, Image.fingerprint == fingerprint)
    try:
        with parts.catalog.write() as session:
            failures = session.scalar(count.values(failures=Image.failures + 1).returning(Image.failures))
            if failures is None or not (sure or failures >= TRIES):
                return
            if skip(session, session.get_one(Image, image_id), reason):
                log.warning("image %s is skipped: %s", image_id, reason)
    except SQLAlchemyError as problem:
        log.warning("image %s: its failure could not be noted: %s", image_id, type(problem).__name__)


def succeeded(parts: Parts, image_id: int) -> None:
    """Forget earlier failures."""
    try:
        with parts.catalog.write() as session:
            session.execute(update(Image).where(Image.id == image_id).values(failures=0))
    except SQLAlchemyError as problem:
        log.warning("image %s: its success could not be noted: %s", image_id, type(problem).__name__)

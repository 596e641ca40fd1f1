"""Images that nobody is to label: taken out with a reason, by a person or by the system, until they are cleared."""

from collections.abc import Sequence

from sqlalchemy import delete, literal_column, select
from sqlalchemy.orm import Session

from configs.errors import ConflictError, InvalidRequestError
from infra.adapters.catalog.tables import Candidate, Image
from tasks.selection.leases import end_leases, reopen
from tasks.selection.unspoken import forget_unspoken

SYSTEM = "system"
GONE = "no longer in the store"
MAX_REASON_CHARS = 1000


def skip(session: Session, image: Image, reason: str, *, by: str = SYSTEM) -> bool:
    """Take an image out for everyone and end its lease; False if it was out already, whose reason then stays.

    Args:
        session: A unit.
        image: The image; its labels, if it has any, stay as they are.
        reason: Shown to people: it must name neither files nor patients.
        by: Who; the system does so with what it cannot read, and takes it back when the store holds other bytes.

    Raises:
        InvalidRequestError: If there is no reason, or an endless one.
    """
    said = " ".join(reason.split())
    if not said or len(said) > MAX_REASON_CHARS:
        raise InvalidRequestError(f"Skipping an image takes a reason of at most {MAX_REASON_CHARS} characters")
    if image.skipped_reason:
        return False
    image.open, image.skipped_reason, image.skipped_by = False, said, by
    session.flush()
    end_leases(session, image)
    session.execute(delete(Candidate).where(Candidate.image_id == image.id))
    forget_unspoken(session, image.id)
    return True


def clear(session: Session, image: Image) -> bool:
    """Let a skipped image be given again, unless it is labelled; False if it was not skipped.

    Raises:
        ConflictError: If it was skipped because its store has it no longer.
    """
    if image.skipped_reason == GONE:
        raise ConflictError("The image is no longer in its store: put it back and list the data set again")
    if not image.skipped_reason:
        return False
    image.skipped_reason, image.skipped_by, image.failures = "", "", 0
    session.flush()
    reopen(session, image.dataset_id, [image.id])
    return True


def skipped(session: Session, dataset_id: str, *, limit: int = 1000) -> Sequence[Image]:
    """Return the data set's skipped images, by key."""
    query = select(Image).where(Image.dataset_id == dataset_id, Image.skipped_reason != literal_column("''"))
    return session.scalars(query.order_by(Image.key).limit(limit)).all()

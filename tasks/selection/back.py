"""What a reviewer sent back goes to its author first; when their lease of it ends it is open to all."""

from sqlalchemy import bindparam, delete, select
from sqlalchemy.orm import Session

from configs.states import LabelState
from infra.adapters.catalog import direct
from infra.adapters.catalog.tables import Image, Label, Lease
from tasks.labels.choosing.choose import spoken_of
from tasks.selection.leases import take
from tasks.selection.room import has_room, settle_room
from tasks.selection.said import annotators_of

_SENT_BACK = (
    select(Label)
    .where(
        Label.dataset_id == bindparam("dataset"),
        Label.state == LabelState.SENT_BACK,
        Label.author == bindparam("holder"),
        Label.handed_back.is_(False),
    )
    .order_by(Label.seq)
)
_ANY_SENT_BACK = _SENT_BACK.with_only_columns(Label.id).limit(1)


def give_back(session: Session, label: Label, lease_s: float) -> None:
    """Lease the image of a label that was sent back to its author, unless somebody else has it by now."""
    annotators = annotators_of(session, label.dataset_id)
    settle_room(session, label.image_id, annotators)
    image = session.get_one(Image, label.image_id)
    if has_room(session, image, annotators, spoken_of(label)):
        take(session, image, label.author, lease_s, annotators, spoken_of(label))


def take_back(session: Session, dataset_id: str, holder: str, lease_s: float) -> Image | None:
    """Return an image whose label was sent back to this annotator and not yet handed to them, leased; None if none.

    An image that somebody else took meanwhile is theirs.
    """
    mine = {"dataset": dataset_id, "holder": holder}
    if direct.run(session, _ANY_SENT_BACK, mine).first() is None:
        return None
    annotators = annotators_of(session, dataset_id)
    for label in session.scalars(_SENT_BACK, mine).all():
        label.handed_back = True
        image = session.get_one(Image, label.image_id)
        own = (Lease.dataset_id == dataset_id, Lease.image_id == image.id, Lease.holder == holder)
        session.execute(delete(Lease).where(*own))
        settle_room(session, image.id, annotators)
        names = spoken_of(label)
        if has_room(session, image, annotators, names) and take(session, image, holder, lease_s, annotators, names):
            return image
    return None


def reason_sent_back(session: Session, image_id: int, holder: str) -> str:
    """Return why this annotator's label of an image was sent back; empty if it was not."""
    query = select(Label.review_reason).where(
        Label.image_id == image_id, Label.state == LabelState.SENT_BACK, Label.author == holder
    )
    return session.scalar(query.order_by(Label.seq.desc()).limit(1)) or ""

"""Questions about labels."""

from collections.abc import Sequence

from sqlalchemy import Row, and_, or_, select
from sqlalchemy.orm import Session

from configs.states import LabelState
from infra.adapters.catalog.tables import Image, Label


def find(session: Session, dataset_id: str, image_id: int, store_key: str, fingerprint: str) -> Label | None:
    """Return the label with exactly this content; this is what makes a notification count once."""
    return session.scalar(
        select(Label).where(
            Label.dataset_id == dataset_id,
            Label.image_id == image_id,
            Label.store_key == store_key,
            Label.fingerprint == fingerprint,
        )
    )


def named(session: Session, dataset_id: str, name: str) -> Label | None:
    """Return the newest label of this id, or of this id in its store; `home/<id>` stays good when it moves there."""
    by_id = session.get(Label, name.removeprefix("home/"))
    if by_id is not None and by_id.dataset_id == dataset_id:
        return by_id
    query = select(Label).where(Label.dataset_id == dataset_id, Label.store_key == name)
    return session.scalar(query.order_by(Label.seq.desc(), Label.version.desc()).limit(1))


def replaceable(session: Session, label: Label) -> Sequence[Label]:
    """Return what a new label of an image may stand in place of: what is active, and what its author has to mend."""
    mine = and_(Label.author == label.author, Label.state == LabelState.QUARANTINED)
    states = (LabelState.ACTIVE, LabelState.SENT_BACK, LabelState.PENDING_UPLOAD)
    query = select(Label).where(
        Label.image_id == label.image_id, Label.id != label.id, or_(mine, Label.state.in_(states))
    )
    return session.scalars(query).all()


def active_of(session: Session, image_id: int) -> Sequence[Label]:
    """Return an image's active labels, newest first."""
    query = select(Label).where(Label.image_id == image_id, Label.state == LabelState.ACTIVE)
    return session.scalars(query.order_by(Label.seq.desc())).all()


def active_masks(session: Session, image_id: int) -> Sequence[Label]:
    """Return an image's active label maps, newest first."""
    return [label for label in active_of(session, image_id) if label.kind == "mask"]


def by_store_key(session: Session, image_id: int, store_key: str) -> Label | None:
    """Return the newest version of a label that an image has under this id."""
    query = select(Label).where(Label.image_id == image_id, Label.store_key == store_key)
    return session.scalar(query.order_by(Label.seq.desc()).limit(1))


def active_up_to(session: Session, dataset_id: str, to_seq: int) -> Sequence[Row[tuple[Label, Image]]]:
    """Return the active labels numbered up to *to_seq* with their images, in the order of their numbers."""
    query = (
        select(Label, Image)
        .join(Image, Image.id == Label.image_id)
        .where(Label.dataset_id == dataset_id, Label.state == LabelState.ACTIVE, Label.seq <= to_seq)
        .order_by(Label.seq)
    )
    return session.execute(query).all()

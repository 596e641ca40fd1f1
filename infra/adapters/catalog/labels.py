"""Questions about labels."""

from collections.abc import Sequence

from sqlalchemy import Row, select
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


def active_of(session: Session, image_id: int) -> Sequence[Label]:
    """Return an image's active labels, newest first."""
    query = select(Label).where(Label.image_id == image_id, Label.state == LabelState.ACTIVE)
    return session.scalars(query.order_by(Label.seq.desc())).all()


def by_store_key(session: Session, image_id: int, store_key: str) -> Label | None:
    """Return the newest version of a label that an image has under this id."""
    query = select(Label).where(Label.image_id == image_id, Label.store_key == store_key)
    return session.scalar(query.order_by(Label.seq.desc()).limit(1))


def active_up_to(session: Session, dataset_id: str, to_seq: int) -> Sequence[Row[Label, Image]]:
    """Return the active labels numbered up to *to_seq* with their images, in the order of their numbers."""
    query = (
        select(Label, Image)
        .join(Image, Image.id == Label.image_id)
        .where(Label.dataset_id == dataset_id, Label.state == LabelState.ACTIVE, Label.seq <= to_seq)
        .order_by(Label.seq)
    )
    return session.execute(query).all()

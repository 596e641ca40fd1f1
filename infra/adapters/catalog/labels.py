"""Questions about labels. Those that every notification asks are built once: building costs more than asking."""

from collections.abc import Sequence

from sqlalchemy import Row, and_, bindparam, func, or_, select
from sqlalchemy.orm import Session

from configs.states import LabelState
from infra.adapters.catalog import direct
from infra.adapters.catalog.tables import Image, Label, LabelTag

OCCUPIES = (LabelState.ACTIVE, LabelState.PENDING_UPLOAD)
"""States of labels that say something of their image."""
_REPLACEABLE = (LabelState.ACTIVE, LabelState.SENT_BACK, LabelState.PENDING_UPLOAD)
_FIND = select(Label).where(
    Label.dataset_id == bindparam("dataset"),
    Label.image_id == bindparam("image"),
    Label.store_key == bindparam("store_key"),
    Label.fingerprint == bindparam("fingerprint"),
)
_NEWEST_VERSION = select(func.max(Label.version)).where(Label.image_id == bindparam("image"))
_OTHERS = select(Label).where(
    Label.image_id == bindparam("image"),
    Label.id != bindparam("label"),
    or_(
        and_(Label.author == bindparam("author"), Label.state == LabelState.QUARANTINED),
        Label.state.in_(_REPLACEABLE),
    ),
)
_OCCUPYING = (
    select(Label).where(Label.image_id == bindparam("image"), Label.state.in_(OCCUPIES)).order_by(Label.seq.desc())
)

_NAMED = (
    select(Label)
    .where(Label.dataset_id == bindparam("dataset"), Label.store_key == bindparam("name"))
    .order_by(Label.seq.desc(), Label.version.desc())
    .limit(1)
)
_STORED = (
    select(Label)
    .where(Label.image_id == bindparam("image"), Label.store_key == bindparam("store_key"))
    .order_by(Label.seq.desc())
    .limit(1)
)

_POINTER = select(LabelTag).where(LabelTag.image_id == bindparam("image"), LabelTag.tag == bindparam("tag"))


def find(session: Session, dataset_id: str, image_id: int, store_key: str, fingerprint: str) -> Label | None:
    """Return the label with exactly this content; this is what makes a notification count once."""
    content = {"dataset": dataset_id, "image": image_id, "store_key": store_key, "fingerprint": fingerprint}
    return session.scalar(_FIND, content)


def newest_version(session: Session, image_id: int) -> int:
    """Return the number of an image's newest label; 0 if it has none."""
    return direct.run(session, _NEWEST_VERSION, {"image": image_id}).scalar() or 0


def named(session: Session, dataset_id: str, name: str) -> Label | None:
    """Return the newest label of this id, or of this id in its store; `home/<id>` stays good when it moves there."""
    by_id = session.get(Label, name.removeprefix("home/"))
    if by_id is not None and by_id.dataset_id == dataset_id:
        return by_id
    return session.scalar(_NAMED, {"dataset": dataset_id, "name": name})


def replaceable(session: Session, label: Label) -> Sequence[Label]:
    """Return what a new label of an image may stand in place of: what is active, and what its author has to mend."""
    of_image = {"image": label.image_id, "label": label.id, "author": label.author}
    return session.scalars(_OTHERS, of_image).all()


def occupying(session: Session, image_id: int) -> Sequence[Label]:
    """Return the labels that say something of an image, active or on their way to its store, newest first."""
    return session.scalars(_OCCUPYING, {"image": image_id}).all()


def pointer(session: Session, image_id: int, tag: str) -> LabelTag | None:
    """Return what says which of an image's labels a tag points to."""
    return session.scalar(_POINTER, {"image": image_id, "tag": tag})


def active_of(session: Session, image_id: int) -> Sequence[Label]:
    """Return an image's active labels, newest first."""
    query = select(Label).where(Label.image_id == image_id, Label.state == LabelState.ACTIVE)
    return session.scalars(query.order_by(Label.seq.desc())).all()


def by_store_key(session: Session, image_id: int, store_key: str) -> Label | None:
    """Return the newest version of a label that an image has under this id."""
    return session.scalar(_STORED, {"image": image_id, "store_key": store_key})


def active_up_to(session: Session, dataset_id: str, to_seq: int) -> Sequence[Row[tuple[Label, Image]]]:
    """Return the active labels numbered up to *to_seq* with their images, in the order of their numbers."""
    query = (
        select(Label, Image)
        .join(Image, Image.id == Label.image_id)
        .where(Label.dataset_id == dataset_id, Label.state == LabelState.ACTIVE, Label.seq <= to_seq)
        .order_by(Label.seq)
    )
    return session.execute(query).all()

"""Labels of a data set, version by version: listed, read, reviewed, mended, hidden."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import exists, select
from sqlalchemy.orm import Session

from configs.errors import ForbiddenError, NotFoundError
from configs.states import LabelState
from infra.adapters.catalog import audit, datasets
from infra.adapters.catalog import labels as catalog
from infra.adapters.catalog.tables import Dataset, Image, Label, LabelTag
from infra.services.callers import Caller, Right, allow, may
from infra.wiring import Parts
from tasks.labels.choosing import review
from tasks.labels.choosing.release import release as take_in_again
from tasks.labels.leave import hide
from tasks.reconcile.loop import wake

_VERSION = re.compile(r"version_([1-9][0-9]{0,8})")
FINAL = "final"


@dataclass(frozen=True)
class LabelView:
    """One version of a label, the id of its image, and the tags that point to it."""

    row: Label
    image: str
    tags: Sequence[str]


@dataclass(frozen=True)
class Wanted:
    """Which labels are asked for; empty = any. `to_review`: people's, that nobody has approved yet."""

    image: str = ""
    state: str = ""
    tag: str = ""
    deleted: bool = False
    to_review: bool = False
    limit: int = 1000


def listed(parts: Parts, caller: Caller, dataset_id: str, wanted: Wanted) -> list[LabelView]:
    """Return a data set's labels, the newest version first; deleted ones only where they are asked for.

    Raises:
        NotFoundError: If the organisation has no such data set.
        ForbiddenError: If deleted labels are asked for by a caller below engineer.
    """
    allow(caller, Right.MANAGE_DATASETS if wanted.deleted else Right.READ)
    with parts.catalog.read() as session:
        datasets.get(session, caller.org, dataset_id)
        named = select(Image.id).where(Image.dataset_id == dataset_id, Image.key == wanted.image).scalar_subquery()
        # One or the other: asked both, SQLite would go through all labels of the data set, which are in order already.
        within = Label.image_id == named if wanted.image else Label.dataset_id == dataset_id
        query = select(Label, Image.key).join(Image, Image.id == Label.image_id).where(within)
        query = query.where(Label.deleted_at.is_not(None) if wanted.deleted else Label.deleted_at.is_(None))
        if wanted.state:
            query = query.where(Label.state == wanted.state)
        if wanted.to_review:
            query = query.where(Label.state == LabelState.ACTIVE, ~Label.approved, ~Label.imported)
        if wanted.tag:
            query = query.where(exists().where(LabelTag.label_id == Label.id, LabelTag.tag == wanted.tag))
        rows = session.execute(query.order_by(Label.created_at.desc(), Label.version.desc()).limit(wanted.limit)).all()
        tags = _tags(session, [label.id for label, _ in rows])
        return [LabelView(label, key, tags.get(label.id, [])) for label, key in rows]


def get(parts: Parts, caller: Caller, label_id: str) -> LabelView:
    """Return one version of a label.

    Raises:
        NotFoundError: If the organisation has none of this id, or it was deleted.
    """
    allow(caller, Right.READ)
    with parts.catalog.read() as session:
        row = _mine(session, caller, label_id)
        tags = _tags(session, [row.id]).get(row.id, [])
        return LabelView(row, session.get_one(Image, row.image_id).key, tags)


def resolve(session: Session, dataset_id: str, name: str, tag: str | None) -> Label | None:
    """Return the version that a label's id, or an image's id and a tag, means; None if there is none.

    Args:
        session: A reading session.
        dataset_id: The data set.
        name: A label's id, or an image's.
        tag: A tag, or `version_N`; None = the label itself, or what `final` of the image points to.
    """
    label = catalog.named(session, dataset_id, name)
    if label is not None and (tag is None or label.tag == tag):
        return label
    image_id = (
        label.image_id
        if label is not None
        else session.scalar(select(Image.id).where(Image.dataset_id == dataset_id, Image.key == name))
    )
    if image_id is None:
        return None
    pointer = session.get(LabelTag, (image_id, tag or FINAL))
    if pointer is not None:
        return session.get(Label, pointer.label_id)
    number = _VERSION.fullmatch(tag or "")
    if number is None:
        return None
    return session.scalar(select(Label).where(Label.image_id == image_id, Label.version == int(number.group(1))))


def approve(parts: Parts, caller: Caller, label_id: str) -> LabelView:
    """Approve a label.

    Raises:
        ForbiddenError: If the caller may not.
        NotFoundError: If the organisation has none of this id.
        ConflictError: If it is not active.
    """
    allow(caller, Right.REVIEW)

    def approved(session: Session) -> None:
        """Approve, on the record."""
        row = _mine(session, caller, label_id)
        review.approve(session, row.id, caller.subject)
        audit.record(session, caller.org, caller.subject, "label.approve", row.id)

    parts.catalog.unit(approved)
    wake()
    return get(parts, caller, label_id)


def send_back(parts: Parts, caller: Caller, label_id: str, reason: str) -> LabelView:
    """Send a label back to its author, who is given its image next.

    Raises:
        ForbiddenError: If the caller may not.
        NotFoundError: If the organisation has none of this id.
        InvalidRequestError: If there is no reason.
        ConflictError: If it is not active.
    """
    allow(caller, Right.REVIEW)

    def sent_back(session: Session) -> None:
        """Send back, on the record."""
        row = _mine(session, caller, label_id)
        review.send_back(session, row.id, caller.subject, reason, parts.settings.image_lease_s)
        audit.record(session, caller.org, caller.subject, "label.send_back", row.id)

    parts.catalog.unit(sent_back)
    return get(parts, caller, label_id)


def release(parts: Parts, caller: Caller, label_id: str, names: Mapping[int, str]) -> LabelView:
    """Take a label out of quarantine, if it fits its image and the experiment by now.

    Raises:
        ForbiddenError: If the caller may not.
        NotFoundError: If the organisation has none of this id.
        ConflictError: If it is not in quarantine, or still does not fit.
    """
    allow(caller, Right.MANAGE_DATASETS)
    with parts.catalog.read() as session:
        row = _mine(session, caller, label_id)
    take_in_again(parts, row.id, names, caller.subject)
    with parts.catalog.write() as session:
        audit.record(session, caller.org, caller.subject, "label.release", row.id)
    wake()
    return get(parts, caller, label_id)


def remove(parts: Parts, caller: Caller, label_id: str) -> None:
    """Hide a label: it no longer counts or trains, and its image waits again; nothing is taken from any store.

    Raises:
        ForbiddenError: If it is somebody else's and the caller is below engineer.
        NotFoundError: If the organisation has none of this id.
    """
    allow(caller, Right.ANNOTATE)

    def removed(session: Session) -> None:
        """Hide, on the record, what is the caller's own or theirs to delete."""
        row = _mine(session, caller, label_id)
        # What follows the slash is whatever a client calls itself.
        if row.author.split("/", 1)[0] != caller.subject and not may(caller, Right.MANAGE_DATASETS):
            raise ForbiddenError("This label is somebody else's: its author or an engineer may delete it")
        hide(session, row.id, caller.subject)
        audit.record(session, caller.org, caller.subject, "label.delete", row.id)

    parts.catalog.unit(removed)


def _mine(session: Session, caller: Caller, label_id: str) -> Label:
    query = select(Label).join(Dataset, Dataset.id == Label.dataset_id)
    mine = (Label.id == label_id, Dataset.org == caller.org, Dataset.deleted_at.is_(None), Label.deleted_at.is_(None))
    row = session.scalar(query.where(*mine))
    if row is None:
        raise NotFoundError("label", label_id)
    return row


def _tags(session: Session, label_ids: Sequence[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for row in session.scalars(select(LabelTag).where(LabelTag.label_id.in_(label_ids)).order_by(LabelTag.tag)):
        found.setdefault(row.label_id, []).append(row.tag)
    return found

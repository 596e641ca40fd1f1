"""What is in a data set: its images page by page, each with what is said of it and the labels that tags point to.

A listing of all takes columns, not rows of the session's: of a hundred thousand images that is a third of the time.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import distinct, func, or_, select
from sqlalchemy.orm import Session

from configs.errors import InvalidRequestError
from configs.states import LabelState
from infra.adapters.catalog.labels import OCCUPIES
from infra.adapters.catalog.tables import Image, ImageInfo, Label, LabelTag
from infra.adapters.catalog.upsert import insert

PAGE = 500
"""Small: between two pages other requests have their turn."""
SAID_BYTES = 128 * 2**10
"""What is said of an image, at most: listings have it whole."""
_SAID = (*OCCUPIES, LabelState.SENT_BACK)
_THERE = (Label.deleted_at.is_(None), Label.state != LabelState.REMOVED)


class Content(NamedTuple):
    """One image, what clients said of it, and its labels by tag."""

    image: Image
    said: Mapping[str, Any]
    labels: Mapping[str, Label]


class Listed(NamedTuple):
    """One image as a listing shows it: columns of its row, what clients said of it, and its labels by tag."""

    key: str
    name: str
    meta: Mapping[str, Any]
    skipped_reason: str
    added_at: float
    said: Mapping[str, Any]
    labels: Mapping[str, Label]


def page(session: Session, dataset_id: str, after: str) -> list[Listed]:
    """Return the next images of a data set in the order of their ids, those behind *after*; none at the end."""
    columns = (Image.id, Image.key, Image.name, Image.meta, Image.skipped_reason, Image.added_at, ImageInfo.said)
    query = select(*columns).outerjoin(ImageInfo, ImageInfo.image_id == Image.id)
    query = query.where(Image.dataset_id == dataset_id, Image.key > after).order_by(Image.key).limit(PAGE)
    rows = session.execute(query).all()
    labels = _labels(session, [row[0] for row in rows])
    return [
        Listed(key, name, meta, skipped_reason, added_at, said or {}, labels.get(number, {}))
        for number, key, name, meta, skipped_reason, added_at, said in rows
    ]


def labelled_page(session: Session, dataset_id: str, tag: str, after: str) -> list[Content]:
    """Return the next images that have a label under a tag, in the order of their ids; none at the end."""
    query = select(Image).join(LabelTag, LabelTag.image_id == Image.id).where(LabelTag.tag == tag)
    query = query.where(Image.dataset_id == dataset_id, Image.key > after).order_by(Image.key).limit(PAGE)
    return contents(session, session.scalars(query).all())


def contents(session: Session, images: Sequence[Image]) -> list[Content]:
    """Return images with what is said of them."""
    ids = [image.id for image in images]
    said = {row.image_id: row.said for row in session.scalars(select(ImageInfo).where(ImageInfo.image_id.in_(ids)))}
    labels = _labels(session, ids)
    return [Content(image, said.get(image.id, {}), labels.get(image.id, {})) for image in images]


def _labels(session: Session, image_ids: Sequence[int]) -> dict[int, dict[str, Label]]:
    """Return images' labels by tag; what people say besides, under a tag that another's save took, by `version_N`."""
    found: dict[int, dict[str, Label]] = {}
    query = select(LabelTag.tag, Label).select_from(Label).outerjoin(LabelTag, LabelTag.label_id == Label.id)
    query = query.where(Label.image_id.in_(image_ids), *_THERE)
    for tag, label in session.execute(query.where(or_(LabelTag.tag.is_not(None), Label.state.in_(_SAID)))):
        labels = found.setdefault(label.image_id, {})
        name = tag or f"version_{label.version}"
        if tag or name not in labels:  # a tag of this name means what it points to, as where one label is asked for
            labels[name] = label
    return found


def labelled(session: Session, dataset_id: str) -> int:
    """Return how many images have an active label."""
    mine = (Label.dataset_id == dataset_id, Label.state == LabelState.ACTIVE)
    return session.scalar(select(func.count(distinct(Label.image_id))).where(*mine)) or 0


def tags(session: Session, dataset_id: str) -> dict[str, int]:
    """Return how many images have a label under each tag."""
    counted = select(LabelTag.tag, func.count()).group_by(LabelTag.tag)
    every = session.execute(counted.where(LabelTag.dataset_id == dataset_id).order_by(LabelTag.tag)).tuples().all()
    # Subtracted: clients ask after each save, and looking at every label's state takes seven times as long.
    taken_out = (Label.dataset_id == dataset_id, Label.state == LabelState.REMOVED)
    gone = dict(session.execute(counted.join(Label, Label.id == LabelTag.label_id).where(*taken_out)).tuples().all())
    return {tag: count - gone.get(tag, 0) for tag, count in every if count > gone.get(tag, 0)}


def say(session: Session, image_id: int, more: Mapping[str, Any]) -> None:
    """Add to what clients said of an image; a later word takes the place of an earlier one of its name.

    Raises:
        InvalidRequestError: If it is too much together.
    """
    row = session.get(ImageInfo, image_id, with_for_update=True)
    said = {**(row.said if row is not None else {}), **more}
    if len(json.dumps(said)) > SAID_BYTES:
        raise InvalidRequestError(
            f"More than {SAID_BYTES} bytes are said of this image together: say null under a name that is not needed"
        )
    statement = insert(session, ImageInfo).values(image_id=image_id, said=said)
    session.execute(statement.on_conflict_do_update(index_elements=["image_id"], set_={"said": said}))

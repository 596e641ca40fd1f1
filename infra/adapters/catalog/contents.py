"""What is in a data set: its images page by page, each with what is said of it and the labels that tags point to."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import distinct, func, select
from sqlalchemy.orm import Session

from configs.states import LabelState
from infra.adapters.catalog.tables import Image, ImageInfo, Label, LabelTag
from infra.adapters.catalog.upsert import insert

PAGE = 2000
_THERE = (Label.deleted_at.is_(None), Label.state != LabelState.REMOVED)


class Content(NamedTuple):
    """One image, what clients said of it, and its labels by tag."""

    image: Image
    said: Mapping[str, Any]
    labels: Mapping[str, Label]


def page(session: Session, dataset_id: str, after: str) -> Sequence[Content]:
    """Return the next images of a data set in the order of their ids, those behind *after*; none at the end."""
    query = select(Image).where(Image.dataset_id == dataset_id, Image.key > after).order_by(Image.key).limit(PAGE)
    return contents(session, session.scalars(query).all())


def contents(session: Session, images: Sequence[Image]) -> list[Content]:
    """Return images with what is said of them."""
    ids = [image.id for image in images]
    said = {row.image_id: row.said for row in session.scalars(select(ImageInfo).where(ImageInfo.image_id.in_(ids)))}
    labels: dict[int, dict[str, Label]] = {}
    tagged = select(LabelTag, Label).join(Label, Label.id == LabelTag.label_id)
    for pointer, label in session.execute(tagged.where(LabelTag.image_id.in_(ids), *_THERE)):
        labels.setdefault(pointer.image_id, {})[pointer.tag] = label
    return [Content(image, said.get(image.id, {}), labels.get(image.id, {})) for image in images]


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
    """Add to what clients said of an image; a later word takes the place of an earlier one of its name."""
    row = session.get(ImageInfo, image_id, with_for_update=True)
    said = {**(row.said if row is not None else {}), **more}
    statement = insert(session, ImageInfo).values(image_id=image_id, said=said)
    session.execute(statement.on_conflict_do_update(index_elements=["image_id"], set_={"said": said}))

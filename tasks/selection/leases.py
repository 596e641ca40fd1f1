"""Who has which image for now: a lease keeps others from the same work, and nothing else depends on it.

A label is taken in with or without a lease, so a lease that ends too early costs at most double work. Times are the
catalog's: after eight hours of sleep a lease is over, and its holder has it again with the next request unless
somebody else took the image; a clock that was set back leaves no lease longer than one that begins now.
"""

from collections.abc import Sequence

from sqlalchemy import Double, and_, bindparam, delete, exists, or_, select, update
from sqlalchemy.orm import Session

from infra.adapters.catalog import direct
from infra.adapters.catalog.tables import Base, Image, Label, Lease
from infra.adapters.catalog.tables.base import now
from infra.adapters.catalog.upsert import InsertIfAbsent
from tasks.labels.choosing.choose import OCCUPIES
from tasks.selection.room import has_room, set_open, settle_room
from tasks.selection.said import ANY, annotators_of
from tasks.selection.unspoken import settle_unspoken

# Longer than a careful annotation of one volume; each request about the image renews it.
LEASE_S = 3600.0
_LONGEST = now() + bindparam("lease_s", type_=Double())
_SHORTEN = update(Lease).where(Lease.dataset_id == bindparam("dataset"), Lease.until > _LONGEST).values(until=_LONGEST)
_RECLAIM = delete(Lease).where(Lease.dataset_id == bindparam("dataset"), Lease.until < now()).returning(Lease.image_id)
_OVER_OR_TOO_LONG = (
    select(Lease.image_id)
    .where(Lease.dataset_id == bindparam("dataset"), or_(Lease.until < now(), Lease.until > _LONGEST))
    .limit(1)
)
_SURPLUS = (
    select(Lease.image_id)
    .where(Lease.dataset_id == bindparam("dataset"), Lease.holder == bindparam("holder"))
    .order_by(Lease.until.desc(), Lease.image_id)
    .offset(bindparam("most"))
)
_GIVE_BACK = delete(Lease).where(
    Lease.dataset_id == bindparam("dataset"),
    Lease.holder == bindparam("holder"),
    Lease.image_id.in_(bindparam("images", expanding=True)),
)
# The primary key decides who was first, whatever both had read before.
_TAKE = (
    InsertIfAbsent(Base.metadata.tables[Lease.__tablename__])
    .values(until=_LONGEST)
    .execution_options(preserve_rowcount=True)
)
_REOPEN = (
    update(Image)
    .where(
        Image.id.in_(bindparam("images", expanding=True)),
        Image.skipped_reason == "",
        ~exists().where(Label.image_id == Image.id, Label.state.in_(OCCUPIES)),
        ~exists().where(Lease.dataset_id == Image.dataset_id, Lease.image_id == Image.id),
    )
    .values(open=True)
)
# A viewer asks many times a second: only what moves the end by as much is written.
TOUCHED_EVERY_S = 30.0


def take(
    session: Session, image: Image, holder: str, lease_s: float, annotators: int = 1, names: frozenset[str] = ANY
) -> bool:
    """Lease a free image; False if somebody else was faster.

    Args:
        session: A unit.
        image: The image.
        holder: Who.
        lease_s: For how many seconds.
        annotators: People who label one image; each has a layer of it.
        names: What is to be labelled, as `asked_by` returns it.
    """
    # An open image of one annotator needs no look at its labels: it has none.
    layers = [0] if annotators == 1 and image.open else has_room(session, image, annotators, names)
    taken = any(_insert(session, image, layer, holder, lease_s, names) for layer in layers)
    was_open = image.open
    # Closed for whoever lost, too, for somebody has it: left open it would be met again and again.
    is_open = annotators > 1 and bool(has_room(session, image, annotators))
    set_open(session, image, is_open=is_open)
    if annotators > 1 or not was_open:
        settle_unspoken(session, image.dataset_id, [image.id], annotators)
    return taken


def _insert(session: Session, image: Image, layer: int, holder: str, lease_s: float, names: frozenset[str]) -> bool:
    of_image = {"dataset_id": image.dataset_id, "image_id": image.id, "layer": layer}
    taken = direct.run(session, _TAKE, {**of_image, "holder": holder, "names": sorted(names), "lease_s": lease_s})
    return taken.rowcount == 1


def touch_lease(session: Session, dataset_id: str, image_id: int, holder: str, lease_s: float) -> None:
    """Extend the holder's lease of an image that they work on; others' leases are left alone."""
    mine = and_(Lease.dataset_id == dataset_id, Lease.image_id == image_id, Lease.holder == holder)
    session.execute(update(Lease).where(mine).values(until=now() + lease_s))


def is_due(session: Session, dataset_id: str, image_id: int, holder: str, lease_s: float) -> bool:
    """Say whether the holder has a lease of this image that is worth a write: not extended within half a minute.

    Whoever waits for a prediction would wait for the write, too, and for all writes before it.
    """
    mine = and_(Lease.dataset_id == dataset_id, Lease.image_id == image_id, Lease.holder == holder)
    worth = Lease.until < now() + lease_s - min(TOUCHED_EVERY_S, lease_s / 4)
    return session.scalar(select(Lease.image_id).where(mine, worth)) is not None


def end_leases(session: Session, image: Image) -> None:
    """End whatever lease there is of an image; whether it is free then is the caller's to say."""
    session.execute(delete(Lease).where(Lease.dataset_id == image.dataset_id, Lease.image_id == image.id))


def keep_newest(session: Session, dataset_id: str, holder: str, most: int) -> int:
    """Give back the images that a holder of more than *most* touched longest ago; return how many."""
    mine = {"dataset": dataset_id, "holder": holder}
    images = direct.run(session, _SURPLUS, {**mine, "most": most}).scalars().all()
    if images:
        direct.run(session, _GIVE_BACK, {**mine, "images": images})
        reopen(session, dataset_id, images)
    return len(images)


def reclaim(session: Session, dataset_id: str, lease_s: float = LEASE_S) -> int:
    """Give images whose lease is over back to everybody; return how many.

    Args:
        session: A unit.
        dataset_id: Whose images.
        lease_s: No lease ends later than this from now: a clock that was set back made those that do.
    """
    here = {"dataset": dataset_id, "lease_s": lease_s}
    if direct.run(session, _OVER_OR_TOO_LONG, here).first() is None:
        return 0
    direct.run(session, _SHORTEN, here)
    images = direct.run(session, _RECLAIM, here).scalars().all()
    if images:
        reopen(session, dataset_id, images)
    return len(images)


def reopen(session: Session, dataset_id: str, images: Sequence[int]) -> None:
    """Make those of these images, of one data set, free to be given that are not labelled, skipped or leased."""
    annotators = annotators_of(session, dataset_id)
    if annotators > 1:
        for image_id in images:
            settle_room(session, image_id, annotators)
        return
    session.execute(_REOPEN, {"images": images})
    settle_unspoken(session, dataset_id, images, annotators)

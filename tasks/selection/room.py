"""Whether an image has room for another annotator: brought up to date wherever its labels or leases change."""

from collections.abc import Sequence

from sqlalchemy import bindparam, delete, select, update
from sqlalchemy.orm import Session
from sqlalchemy.orm.attributes import set_committed_value

from infra.adapters.catalog import direct
from infra.adapters.catalog.tables import Candidate, Experiment, Image, Label, Lease
from tasks.labels.choosing.choose import asked_by, spoken_of
from tasks.selection.said import ANY, Said, free_layers, is_full, leased_layers, said_of
from tasks.selection.unspoken import settle_one

_IMAGE = select(Image).where(Image.id == bindparam("image"))
_SET_OPEN = update(Image).where(Image.id == bindparam("image")).values(open=bindparam("is_open"))
_SCORED = (
    select(Experiment.id, Experiment.labels)
    .join(Candidate, Candidate.experiment_id == Experiment.id)
    .where(Candidate.image_id == bindparam("image"))
)
_LEASES = select(Lease.layer, Lease.names).where(
    Lease.dataset_id == bindparam("dataset"), Lease.image_id == bindparam("image")
)


def settle_room(session: Session, image_id: int, annotators: int, labels: Sequence[Label] | None = None) -> None:
    """Open or close an image by what it holds now.

    Where nobody more is wanted, its scores and leases go: those that were made in other names than its labels stay.

    Args:
        session: A unit.
        image_id: The image.
        annotators: People who label one image.
        labels: Those that say something of it, where they are known already.
    """
    image = session.scalar(_IMAGE, {"image": image_id})
    if image is None:
        return
    if labels is None:
        said = said_of(session, [image_id])[image_id]
    else:
        said = [Said(label.author, label.layer, spoken_of(label)) for label in labels]
    full = is_full(said, annotators)
    if full:
        _drop_scores(session, image_id, said, annotators)
    leased = _leased(session, image, said, annotators, full=full)
    set_open(session, image, is_open=not image.skipped_reason and bool(free_layers(said, leased, annotators)))
    settle_one(session, image, said, leased, annotators)


def set_open(session: Session, image: Image, *, is_open: bool) -> None:
    """Say whether an image is free for all."""
    if image.open != is_open:
        direct.run(session, _SET_OPEN, {"image": image.id, "is_open": is_open})
        set_committed_value(image, "open", is_open)


def has_room(session: Session, image: Image, annotators: int, names: frozenset[str] = ANY) -> list[int]:
    """Return the layers of an image that somebody may have who labels these names; none if it was skipped."""
    if image.skipped_reason:
        return []
    said = said_of(session, [image.id])[image.id]
    return free_layers(said, leased_layers(session, [image.id])[image.id], annotators, names)


def _drop_scores(session: Session, image_id: int, said: Sequence[Said], annotators: int) -> None:
    scored = dict(direct.run(session, _SCORED, {"image": image_id}).tuples().all())
    full = [one for one, labels in scored.items() if is_full(said, annotators, asked_by(labels))]
    if full:
        theirs = Candidate.experiment_id.in_(full)
        session.execute(delete(Candidate).where(Candidate.image_id == image_id, theirs))


def _leased(session: Session, image: Image, said: Sequence[Said], annotators: int, *, full: bool) -> set[int]:
    """Return the layers that are leased; of a full image, those that are leased in other names, and end the others."""
    leases = dict(direct.run(session, _LEASES, {"dataset": image.dataset_id, "image": image.id}).tuples().all())
    over = {layer for layer, names in leases.items() if full and is_full(said, annotators, frozenset(names))}
    if over:
        mine = (Lease.dataset_id == image.dataset_id, Lease.image_id == image.id)
        session.execute(delete(Lease).where(*mine, Lease.layer.in_(over)))
    return leases.keys() - over

"""Whether an image has room for another annotator: brought up to date wherever its labels or leases change."""

from collections.abc import Sequence

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from infra.adapters.catalog.tables import Candidate, Experiment, Image, Lease
from tasks.labels.choose import asked_by
from tasks.selection.said import ANY, Said, free_layers, is_full, leased_layers, said_of
from tasks.selection.unspoken import settle_unspoken


def settle_room(session: Session, image_id: int, annotators: int) -> None:
    """Open or close an image by what it holds now.

    Where nobody more is wanted, its scores and leases go: those that were made in other names than its labels stay.
    """
    image = session.get(Image, image_id)
    if image is None:
        return
    session.flush()
    said = said_of(session, [image_id])[image_id]
    if is_full(said, annotators):
        _drop_scores(session, image_id, said, annotators)
        _end_leases(session, image, said, annotators)
    image.open = not image.skipped_reason and bool(free_layers(said, _leased(session, image_id), annotators))
    session.flush()
    settle_unspoken(session, image.dataset_id, [image_id], annotators)


def has_room(session: Session, image: Image, annotators: int, names: frozenset[str] = ANY) -> list[int]:
    """Return the layers of an image that somebody may have who labels these names; none if it was skipped."""
    if image.skipped_reason:
        return []
    said = said_of(session, [image.id])[image.id]
    return free_layers(said, _leased(session, image.id), annotators, names)


def _leased(session: Session, image_id: int) -> set[int]:
    return leased_layers(session, [image_id])[image_id]


def _drop_scores(session: Session, image_id: int, said: Sequence[Said], annotators: int) -> None:
    query = select(Experiment.id, Experiment.labels).join(Candidate, Candidate.experiment_id == Experiment.id)
    scored = dict(session.execute(query.where(Candidate.image_id == image_id)).tuples().all())
    full = [one for one, labels in scored.items() if is_full(said, annotators, asked_by(labels))]
    if full:
        theirs = Candidate.experiment_id.in_(full)
        session.execute(delete(Candidate).where(Candidate.image_id == image_id, theirs))


def _end_leases(session: Session, image: Image, said: Sequence[Said], annotators: int) -> None:
    mine = (Lease.dataset_id == image.dataset_id, Lease.image_id == image.id)
    for layer, names in session.execute(select(Lease.layer, Lease.names).where(*mine)).tuples().all():
        if is_full(said, annotators, frozenset(names)):
            session.execute(delete(Lease).where(*mine, Lease.layer == layer))

"""Whether an image has room for another annotator, where a data set wants several people's labels of one image."""

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from configs.specs.dataset import DatasetSpec
from infra.adapters.catalog.tables import Candidate, Dataset, Image, Label, Lease
from tasks.labels.choose import OCCUPIES, SOURCE_LAYER


def annotators_of(session: Session, dataset_id: str) -> int:
    """Return how many people's labels complete an image of this data set."""
    spec = session.scalar(select(Dataset.spec).where(Dataset.id == dataset_id))
    return DatasetSpec.model_validate(spec).annotators_per_image if spec else 1


def free_layers(session: Session, image_id: int, annotators: int) -> list[int]:
    """Return the layers of an image that nobody has a label on or leases, the lowest first."""
    labelled = _labelled(session, image_id)
    if SOURCE_LAYER in labelled or len(labelled) >= annotators:
        return []
    leased = set(session.scalars(select(Lease.layer).where(Lease.image_id == image_id)))
    return [layer for layer in range(annotators) if layer not in labelled | leased]


def settle_room(session: Session, image_id: int, annotators: int) -> None:
    """Open or close an image by what it holds now; a full one has no candidates and no leases any more."""
    image = session.get(Image, image_id)
    if image is None:
        return
    session.flush()
    labelled = _labelled(session, image_id)
    if SOURCE_LAYER in labelled or len(labelled) >= annotators:
        session.execute(delete(Candidate).where(Candidate.image_id == image_id))
        session.execute(delete(Lease).where(Lease.dataset_id == image.dataset_id, Lease.image_id == image_id))
    image.open = not image.skipped_reason and bool(free_layers(session, image_id, annotators))
    session.flush()


def _labelled(session: Session, image_id: int) -> set[int]:
    return set(session.scalars(select(Label.layer).where(Label.image_id == image_id, Label.state.in_(OCCUPIES))))

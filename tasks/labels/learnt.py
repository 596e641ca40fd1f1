"""What a round learns from: of each image one label map, chosen or derived; and what it cannot learn from, told."""

from collections.abc import Mapping

from sqlalchemy import select
from sqlalchemy.orm import Session

from configs.states import LabelState
from infra.adapters.catalog.tables import Image, Label
from tasks.labels.choose import choices
from tasks.labels.staple import derived_id


def learnable(session: Session, dataset_id: str, to_seq: int, names: Mapping[int, str]) -> list[tuple[Label, Image]]:
    """Return the label maps that a round with these names learns from, with their images.

    Where several people's labels are joined it is the derived one; `tasks.labels.staple.derive_labels` makes it.
    """
    found = []
    for labels in choices(session, dataset_id, to_seq, names):
        derived = session.get(Label, derived_id(labels, names)) if len(labels) > 1 else None
        label = derived or labels[0]
        found.append((label, session.get_one(Image, label.image_id)))
    return found


def structured(session: Session, dataset_id: str, to_seq: int) -> list[Label]:
    """Return the active labels that are no masks: classes and boxes."""
    query = select(Label).where(
        Label.dataset_id == dataset_id,
        Label.state == LabelState.ACTIVE,
        Label.seq <= to_seq,
        Label.kind != "mask",
    )
    return list(session.scalars(query.order_by(Label.image_id, Label.seq)))

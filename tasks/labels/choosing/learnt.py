"""What a round learns from: of each image one label map, chosen or derived; and what it cannot learn from, told."""

from collections import Counter
from collections.abc import Mapping, Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from configs.kinds import LabelKind
from configs.states import LabelState
from infra.adapters.catalog.tables import Image, Label
from tasks.labels.choosing.choose import choices
from tasks.labels.choosing.staple import derived_id


def learnable(
    session: Session, dataset_id: str, to_seq: int, names: Mapping[int, str], kind: LabelKind = "mask"
) -> list[tuple[Label, Image]]:
    """Return the labels of a kind that a round with these names learns from, with their images.

    Where several people's label maps are joined it is the derived one, which `staple.derive_labels` makes. Of several
    people's classes it is what most of them say, of two that as many say the newer one.
    """
    found = []
    for labels in choices(session, dataset_id, to_seq, names, kind):
        derived = session.get(Label, derived_id(labels, names)) if len(labels) > 1 else None
        label = derived or (most_said(labels) if kind == "class" else labels[0])
        found.append((label, session.get_one(Image, label.image_id)))
    return found


def most_said(labels: Sequence[Label]) -> Label:
    """Return the newest of the labels that say what most of these say; newest first."""
    said = Counter(tuple(label.names) or (label.blob,) for label in labels)
    return max(labels, key=lambda label: said[tuple(label.names) or (label.blob,)])


def structured(session: Session, dataset_id: str, to_seq: int, but: LabelKind = "mask") -> list[Label]:
    """Return the active labels that are JSON, classes and boxes, but for those of the kind that is learnt."""
    query = select(Label).where(
        Label.dataset_id == dataset_id,
        Label.state == LabelState.ACTIVE,
        Label.seq <= to_seq,
        Label.kind.not_in(("mask", but)),
    )
    return list(session.scalars(query.order_by(Label.image_id, Label.seq)))

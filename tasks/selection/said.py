"""What is said of an image, and whether that leaves room: asked in the names of the one who wants to label it."""

from collections.abc import Collection, Sequence
from typing import NamedTuple

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from configs.specs.dataset import DatasetSpec
from infra.adapters.catalog import direct
from infra.adapters.catalog.tables import Dataset, Label, Lease
from tasks.labels.choosing.choose import OCCUPIES, SOURCE_LAYER, names_of, speaks

ANY: frozenset[str] = frozenset()
"""Asked in no names: any label says what is asked."""


_SPEC = select(Dataset.spec).where(Dataset.id == bindparam("dataset"))
_LABELS = select(Label.image_id, Label.author, Label.layer, Label.annotated, Label.names).where(
    Label.image_id.in_(bindparam("images", expanding=True)), Label.state.in_(OCCUPIES)
)
_LEASES = select(Lease.image_id, Lease.layer).where(Lease.image_id.in_(bindparam("images", expanding=True)))


class Said(NamedTuple):
    """One label: who said it, on which layer, and of which names; no names = of all."""

    author: str
    layer: int
    names: frozenset[str]


def annotators_of(session: Session, dataset_id: str) -> int:
    """Return how many people's labels complete an image of this data set."""
    spec = direct.run(session, _SPEC, {"dataset": dataset_id}).scalar()
    return DatasetSpec.model_validate(spec).annotators_per_image if spec else 1


def said_of(session: Session, image_ids: Collection[int]) -> dict[int, list[Said]]:
    """Return what the labels of these images say; each image has its key."""
    found: dict[int, list[Said]] = {image_id: [] for image_id in image_ids}
    labels = direct.run(session, _LABELS, {"images": list(image_ids)}).tuples()
    for image_id, author, layer, annotated, names in labels:
        found[image_id].append(Said(author, layer, names_of(annotated, names)))
    return found


def layers_about(said: Sequence[Said], names: frozenset[str]) -> set[int]:
    """Return the layers of those labels that speak of the names."""
    return {label.layer for label in said if speaks(label.names, names)}


def is_full(said: Sequence[Said], annotators: int, names: frozenset[str] = ANY) -> bool:
    """Say whether an image needs nobody more who labels these names: it came labelled, or enough people were there."""
    layers = layers_about(said, names)
    return SOURCE_LAYER in layers or len(layers) >= annotators


def free_layers(
    said: Sequence[Said], leased: Collection[int], annotators: int, names: frozenset[str] = ANY
) -> list[int]:
    """Return the layers of an image that have no label of these names and no lease, the lowest first."""
    if is_full(said, annotators, names):
        return []
    taken = layers_about(said, names).union(leased)
    return [layer for layer in range(annotators) if layer not in taken]


def leased_layers(session: Session, image_ids: Collection[int]) -> dict[int, set[int]]:
    """Return the layers of these images that somebody has for now; each image has its key."""
    found: dict[int, set[int]] = {image_id: set() for image_id in image_ids}
    for image_id, layer in direct.run(session, _LEASES, {"images": list(image_ids)}).tuples():
        found[image_id].add(layer)
    return found

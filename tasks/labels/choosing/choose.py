"""Which of an image's labels count and train: the data set's rules for several annotators, in one place.

A person's labels of an image are on one layer, other people's on others. An image is complete when so many people as
the data set asks for have said what they think of it, and `train_on` is satisfied; only then it counts and trains.
"""

from collections.abc import Mapping, Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from configs.kinds import LabelKind
from configs.names import plain
from configs.specs.dataset import DatasetSpec
from configs.states import LabelState
from infra.adapters.catalog import labels
from infra.adapters.catalog.tables import Dataset, Experiment, Label, Lease

OCCUPIES = labels.OCCUPIES
SOURCE_LAYER = -1
"""The layer of labels that were found at the source."""


def rules_of(session: Session, dataset_id: str) -> DatasetSpec:
    """Return what a data set says of its annotators."""
    return DatasetSpec.model_validate(session.get_one(Dataset, dataset_id).spec)


def spoken_of(label: Label) -> frozenset[str]:
    """Return the names that a label speaks about, as they are compared; empty = all that anybody has."""
    return names_of(label.annotated, label.names)


def names_of(annotated: Sequence[object] | None, names: Mapping[str, object]) -> frozenset[str]:
    """Return what `spoken_of` does, from a label's columns."""
    return frozenset(plain(str(name)) for name in (annotated or names.values()))


def asked_by(names: Mapping[int, str] | Mapping[str, str]) -> frozenset[str]:
    """Return an experiment's names as they are compared; empty = whatever a label says, it speaks of them."""
    return frozenset(plain(name) for name in names.values())


def speaks(spoken: frozenset[str], asked: frozenset[str]) -> bool:
    """Say whether a label that speaks of some names says anything of those that are asked for."""
    return not spoken or not asked or not spoken.isdisjoint(asked)


def about(active: Sequence[Label], names: Mapping[int, str] | Mapping[str, str]) -> list[Label]:
    """Return those labels that speak about at least one of an experiment's names."""
    asked = asked_by(names)
    return [label for label in active if speaks(spoken_of(label), asked)]


def people_s(active: Sequence[Label], rules: DatasetSpec) -> list[Label]:
    """Return the people's labels of one image that are to be learnt from; none while it is not complete.

    Args:
        active: The image's active label maps.
        rules: The data set's.

    Returns:
        One label; with `resolve: staple` one of each person, from which one is derived.
    """
    said = [label for label in active if label.layer != SOURCE_LAYER]
    fitting = [label for label in said if label.approved or rules.train_on == "submitted"]
    if len({label.layer for label in fitting}) < rules.annotators_per_image:
        return []
    # One label a person, however often they saved.
    newest_of = {label.layer: label for label in sorted(fitting, key=lambda label: label.seq)}
    newest_first = sorted(newest_of.values(), key=lambda label: label.seq, reverse=True)
    if rules.resolve == "reviewer":
        newest_first = [label for label in newest_first if label.approved] if len(said) > 1 else newest_first
    return newest_first if rules.resolve == "staple" else newest_first[:1]


def chosen(active: Sequence[Label], rules: DatasetSpec) -> list[Label]:
    """Return what trains of one image: what people say once it is complete, else what was found at the source."""
    found = sorted((one for one in active if one.layer == SOURCE_LAYER), key=lambda one: one.seq, reverse=True)
    return people_s(active, rules) or found[:1]


def choices(
    session: Session, dataset_id: str, to_seq: int, names: Mapping[int, str], kind: LabelKind = "mask"
) -> list[list[Label]]:
    """Return what an experiment with these names learns of each image up to *to_seq*, in the order of the labels.

    From labels of one kind: an experiment learns what its bundle answers.
    """
    rules = rules_of(session, dataset_id)
    of_image: dict[int, list[Label]] = {}
    for label, _image in labels.active_up_to(session, dataset_id, to_seq):
        if label.kind == kind:
            of_image.setdefault(label.image_id, []).append(label)
    found = [chosen(about(active, names), rules) for active in of_image.values()]
    return sorted((each for each in found if each), key=lambda each: each[0].seq)


def layer_of(session: Session, image_id: int, person: str, annotators: int) -> int:
    """Return the layer of a person's label: the one they have, else the one they lease, else the lowest free one."""
    if annotators == 1:
        return 0
    states = (*OCCUPIES, LabelState.SENT_BACK)
    query = select(Label).where(Label.image_id == image_id, Label.state.in_(states), Label.layer != SOURCE_LAYER)
    rows = session.scalars(query.order_by(Label.seq)).all()
    own = [label.layer for label in rows if label.author == person]
    taken = {label.layer for label in rows}
    if own:
        return own[-1]
    lease = select(Lease.layer).where(Lease.image_id == image_id, Lease.holder == person)
    leased = [layer for layer in session.scalars(lease.order_by(Lease.layer)) if layer not in taken]
    others = session.scalars(select(Lease.layer).where(Lease.image_id == image_id, Lease.holder != person))
    return leased[0] if leased else _lowest_free(taken | set(others), taken, annotators)


def _lowest_free(kept: set[int], taken: set[int], annotators: int) -> int:
    """Return the lowest layer that nobody keeps; where all are leased the lowest that has no label."""
    free = next((layer for layer in range(annotators) if layer not in kept), None)
    return free if free is not None else next(layer for layer in range(len(taken) + 1) if layer not in taken)


def images_to_learn(session: Session, dataset_id: str, image_ids: Sequence[int], experiment: Experiment) -> list[int]:
    """Return those of these images whose people's labels count for an experiment, in order."""
    rules = rules_of(session, dataset_id)
    if rules.annotators_per_image == 1 and rules.train_on == "submitted":
        return list(image_ids)
    learns, names = experiment.learns, experiment.labels

    def counts(image_id: int) -> bool:
        """Say whether people have said of an image what the experiment learns."""
        active = [label for label in labels.active_of(session, image_id) if label.kind == learns]
        return bool(people_s(about(active, names), rules))

    return [image_id for image_id in image_ids if counts(image_id)]

"""Images that are labelled, but not in the names of an experiment: to it they are as unlabelled as any.

"Labelled" is asked per experiment, and an image's own `open` answers for all of them: nobody has said anything. What
has been said in other names stands in a small table of its own, one row for each vocabulary that somebody asks in, so
the next image stays one step down an index. A row is a hint, written where labels and leases change; it is looked at
again when its image is to be given. Labels from before a vocabulary was first asked for are looked at in shares.
"""

from collections.abc import Collection, Iterable, Sequence
from hashlib import sha256

from sqlalchemy import ColumnElement, and_, bindparam, delete, exists, or_, select
from sqlalchemy.orm import Session

from configs.states import LabelState
from infra.adapters.catalog import direct
from infra.adapters.catalog.locks import lock
from infra.adapters.catalog.tables import Base, Dataset, Experiment, Image, Label, Unspoken, Vocabulary
from infra.adapters.catalog.upsert import InsertIfAbsent, insert
from tasks.labels.choosing.choose import asked_by
from tasks.selection.said import Said, free_layers, leased_layers, said_of

SHARE = 100
_OF_IMAGE = (
    select(Vocabulary.id, Vocabulary.names, Unspoken.image_id)
    .outerjoin(Unspoken, and_(Unspoken.vocabulary_id == Vocabulary.id, Unspoken.image_id == bindparam("image")))
    .where(Vocabulary.dataset_id == bindparam("dataset"))
)
_FREE = select(Image.id).where(Image.dataset_id == bindparam("dataset"), Image.open.is_(True)).limit(1)
_ALL = select(Vocabulary).where(Vocabulary.dataset_id == bindparam("dataset"))
_NOT_SKIPPED = select(Image).where(Image.id.in_(bindparam("images", expanding=True)), Image.skipped_reason == "")
_FORGET = delete(Unspoken).where(
    Unspoken.vocabulary_id == bindparam("vocabulary"), Unspoken.image_id.in_(bindparam("images", expanding=True))
)
_ADD = InsertIfAbsent(Base.metadata.tables[Unspoken.__tablename__])
_NAMED = select(Vocabulary).where(Vocabulary.dataset_id == bindparam("dataset"), Vocabulary.key == bindparam("key"))


def vocabulary_of(session: Session, dataset_id: str, experiment: Experiment | None) -> Vocabulary | None:
    """Return the vocabulary of an experiment; None if it has no names, or nobody has asked in them yet."""
    names = asked_by(experiment.labels) if experiment is not None else frozenset[str]()
    if not names:
        return None
    return session.scalar(_NAMED, {"dataset": dataset_id, "key": _key(names)})


def ask_in(session: Session, dataset_id: str, experiment: Experiment | None) -> Vocabulary | None:
    """Return the vocabulary of an experiment; from the first time on its rows are kept. None if it has no names.

    Call it first in a unit: the first time it holds the data set's row, so that no label comes meanwhile.
    """
    found = vocabulary_of(session, dataset_id, experiment)
    names = asked_by(experiment.labels) if experiment is not None else frozenset[str]()
    if found is not None or not names:
        return found
    number = session.scalar(lock(session, select(Dataset.label_seq).where(Dataset.id == dataset_id))) or 0
    row = insert(session, Vocabulary).values(dataset_id=dataset_id, key=_key(names), names=sorted(names), until=number)
    session.execute(row.on_conflict_do_nothing())
    return vocabulary_of(session, dataset_id, experiment)


def look_back(session: Session, vocabulary: Vocabulary, annotators: int, most: int = SHARE) -> bool:
    """Look at some more of the labels that were there before the vocabulary; False if none is left to be looked at."""
    if vocabulary.examined_to >= vocabulary.until:
        return False
    query = (
        select(Label.seq, Label.image_id)
        .where(
            Label.dataset_id == vocabulary.dataset_id,
            Label.state == LabelState.ACTIVE,
            Label.seq > vocabulary.examined_to,
            Label.seq <= vocabulary.until,
        )
        .order_by(Label.seq)
        .limit(most)
    )
    rows = session.execute(query).tuples().all()
    vocabulary.examined_to = rows[-1][0] if len(rows) == most else vocabulary.until
    _settle(session, [vocabulary], {image_id for _, image_id in rows}, annotators)
    session.flush()
    return True


def settle_unspoken(session: Session, dataset_id: str, image_ids: Collection[int], annotators: int) -> None:
    """Bring the rows of these images, all of one data set, up to date with their labels and leases."""
    vocabularies = session.scalars(_ALL, {"dataset": dataset_id}).all()
    if vocabularies and image_ids:
        _settle(session, vocabularies, image_ids, annotators)


def settle_one(session: Session, image: Image, said: Sequence[Said], leased: Collection[int], annotators: int) -> None:
    """Bring one image's rows up to date with what its labels say and which of its layers are leased."""
    here = {"dataset": image.dataset_id, "image": image.id}
    for vocabulary, names, row in direct.run(session, _OF_IMAGE, here).tuples().all():
        free = not image.skipped_reason and _is_free(said, leased, annotators, frozenset(names))
        if free and row is None:
            _add(session, vocabulary, [image])
        elif not free and row is not None:
            direct.run(session, _FORGET, {"vocabulary": vocabulary, "images": [image.id]})


def _settle(session: Session, vocabularies: Iterable[Vocabulary], image_ids: Collection[int], annotators: int) -> None:
    said, leased = said_of(session, image_ids), leased_layers(session, image_ids)
    # What nothing is said of is free to all, or will be.
    spoken = [image_id for image_id, labels in said.items() if labels]
    images = session.scalars(_NOT_SKIPPED, {"images": spoken}).all() if spoken else []
    for vocabulary in vocabularies:
        names = frozenset[str](vocabulary.names)
        free = [image for image in images if _is_free(said[image.id], leased[image.id], annotators, names)]
        gone = set(image_ids) - {image.id for image in free}
        if gone:
            direct.run(session, _FORGET, {"vocabulary": vocabulary.id, "images": list(gone)})
        _add(session, vocabulary.id, free)


def _is_free(said: Sequence[Said], leased: Collection[int], annotators: int, names: frozenset[str]) -> bool:
    # Without any label it is open to all, or will be.
    return bool(said) and bool(free_layers(said, leased, annotators, names))


def _add(session: Session, vocabulary: int, images: Iterable[Image]) -> None:
    rows = [
        {
            "vocabulary_id": vocabulary,
            "image_id": image.id,
            "held_out": image.held_out,
            "shuffle": image.shuffle,
            "key": image.key,
        }
        for image in images
    ]
    if rows:
        session.execute(_ADD, rows)


def any_left(session: Session, dataset_id: str, experiment_id: str) -> bool:
    """Say whether an image is free for an experiment; while labels are still to be looked at, one may be."""
    if direct.run(session, _FREE, {"dataset": dataset_id}).first() is not None:
        return True
    vocabulary = vocabulary_of(session, dataset_id, session.get(Experiment, experiment_id))
    if vocabulary is None:
        return False
    unspoken = select(Unspoken.image_id).where(Unspoken.vocabulary_id == vocabulary.id).limit(1)
    return vocabulary.examined_to < vocabulary.until or session.scalar(unspoken) is not None


def is_free_for(session: Session, dataset_id: str, experiment: Experiment) -> ColumnElement[bool]:
    """Return whether an image is free for an experiment, to be asked of many images at once."""
    vocabulary = vocabulary_of(session, dataset_id, experiment)
    named = vocabulary.id if vocabulary is not None else None
    other = exists().where(Unspoken.vocabulary_id == named, Unspoken.image_id == Image.id)
    return or_(Image.open.is_(True), other)


def is_unspoken(session: Session, image: Image, experiment: Experiment) -> bool:
    """Say whether a labelled image is free for those who label the experiment's names."""
    vocabulary = vocabulary_of(session, image.dataset_id, experiment)
    return vocabulary is not None and session.get(Unspoken, (vocabulary.id, image.id)) is not None


def forget_unspoken(session: Session, image_id: int) -> None:
    """Give an image to nobody in any vocabulary: it was skipped."""
    session.execute(delete(Unspoken).where(Unspoken.image_id == image_id))


def _key(names: frozenset[str]) -> str:
    return sha256("\n".join(sorted(names)).encode()).hexdigest()

"""Labels come in, come back, and go: rows, events and layers. Whether they count is `tasks/rounds/count.py`'s."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import bindparam, update
from sqlalchemy.orm import Session
from sqlalchemy.orm.attributes import set_committed_value

from configs.specs.dataset import DatasetSpec
from configs.states import LabelState
from infra.adapters.catalog import direct, labels
from infra.adapters.catalog.tables import Dataset, Label, LabelEvent, LabelTag
from infra.adapters.catalog.tables.base import new_id, now
from tasks.labels.choosing.choose import SOURCE_LAYER, layer_of, people_s, spoken_of
from tasks.labels.incoming.checked import CheckedNotice

_NUMBER = update(Dataset).where(Dataset.id == bindparam("dataset")).values(label_seq=bindparam("number"))
_GIVES_WAY = frozenset({LabelState.PREDICTION, LabelState.REMOVED})
"""States of labels whose tag a model's own output may take."""


@dataclass(frozen=True)
class TakenIn:
    """A label that changed something.

    Attributes:
        label: The label.
        counts: Whether what it says is new.
        said: With it, all that say something of its image, newest first; None where that has to be asked.
    """

    label: Label
    counts: bool
    said: Sequence[Label] | None


def take_in(session: Session, dataset: Dataset, notice: CheckedNotice, actor: str) -> TakenIn | None:
    """Take a label in; None if it is known and nothing changes but what its tag points to.

    Call it inside a unit that holds the data set's row, and has written what it changed before.
    """
    # Of an image without a label, as most are, nothing more need be asked.
    version = labels.newest_version(session, notice.image_id)
    known = _known(session, dataset, notice) if version else None
    if known is not None and not _comes_back(known, notice):
        if notice.saved:
            point_tag(session, known, notice.tag)
        return None
    before = known.state if known is not None else None
    claimed = known is not None and notice.claims
    rules = DatasetSpec.model_validate(dataset.spec)
    label = known or Label(id=new_id(), dataset_id=dataset.id, image_id=notice.image_id, version=version + 1)
    _write(label, notice, actor)
    label.layer = SOURCE_LAYER if notice.imported else layer_of(session, notice.image_id, label.author, _several(rules))
    session.add(label)
    said = None
    if label.state == LabelState.ACTIVE:
        back = before in {LabelState.REMOVED, LabelState.SUPERSEDED}
        said = activate(session, dataset, label, "restored" if back else notice.kind, actor, is_first=not version)
    point_tag(session, label, notice.tag, is_first=not version)
    new = before in {None, LabelState.SENT_BACK, LabelState.QUARANTINED, LabelState.PENDING_UPLOAD}
    counts = (new or claimed) and label.state == LabelState.ACTIVE and not label.imported
    return TakenIn(label, counts, said)


def activate(
    session: Session, dataset: Dataset, label: Label, kind: str, actor: str, *, is_first: bool = False
) -> list[Label]:
    """Let a label be what its author says of the image, in place of what they said before, if it is not the first.

    Returns: All that say something of the image then, newest first.
    """
    others = () if is_first else labels.replaceable(session, label)
    label.state = LabelState.ACTIVE
    append_event(session, dataset, label, kind, actor)
    rules = DatasetSpec.model_validate(dataset.spec)
    for earlier in others:
        same = earlier.layer == label.layer or (_several(rules) == 1 and earlier.layer >= 0 <= label.layer)
        if same and earlier.kind == label.kind and not _of_other_names(earlier, label):
            earlier.state = LabelState.SUPERSEDED
    active = [one for one in (label, *others) if one.state == LabelState.ACTIVE and one.kind == label.kind]
    sources = [one for one in active if one.layer == SOURCE_LAYER and not _of_other_names(one, label)]
    if sources and people_s(active, rules):
        for found in sources:
            found.state = LabelState.SUPERSEDED
    said = [one for one in (label, *others) if one.state in labels.OCCUPIES]
    return sorted(said, key=lambda one: one.seq, reverse=True)


def _of_other_names(earlier: Label, label: Label) -> bool:
    """Say whether two labels have no name in common, as those of two experiments may: both go on saying theirs."""
    before, now = spoken_of(earlier), spoken_of(label)
    both = earlier.state == label.state == LabelState.ACTIVE
    return both and bool(before) and bool(now) and not before & now


def take_out(session: Session, dataset: Dataset, label: Label, actor: str) -> bool:
    """Take a label out; False if it was out already."""
    if label.state in {LabelState.REMOVED, LabelState.SUPERSEDED, LabelState.DERIVED}:
        return False
    label.state, label.approved = LabelState.REMOVED, False
    append_event(session, dataset, label, "removed", actor)
    session.flush()
    return True


def append_event(session: Session, dataset: Dataset, label: Label, kind: str, actor: str) -> None:
    """Number what happened; the label has the number of what happened to it last."""
    # The data set's row is held, so these numbers are the order of commits: a round takes all up to one of them.
    label.seq = dataset.label_seq + 1
    direct.run(session, _NUMBER, {"dataset": dataset.id, "number": label.seq})
    set_committed_value(dataset, "label_seq", label.seq)
    named = {"label": label, "label_id": label.id}  # who reads the event before it is written goes by the id
    session.add(LabelEvent(dataset_id=dataset.id, seq=dataset.label_seq, kind=kind, actor=actor, **named))


def point_tag(session: Session, label: Label, tag: str, *, is_first: bool = False) -> None:
    """Let a tag of the image, which has none if this label is its first, point to this label.

    A model's own output takes no tag away from a person's label.
    """
    pointer = None if is_first else labels.pointer(session, label.image_id, tag)
    if pointer is None:
        session.add(LabelTag(dataset_id=label.dataset_id, image_id=label.image_id, tag=tag, label=label))
    elif label.state != LabelState.PREDICTION or session.get_one(Label, pointer.label_id).state in _GIVES_WAY:
        pointer.label, pointer.at = label, now()  # SQL, computed by the statement


def _known(session: Session, dataset: Dataset, notice: CheckedNotice) -> Label | None:
    known = session.get(Label, notice.label_id) if notice.label_id is not None else None
    return known or labels.find(session, dataset.id, notice.image_id, notice.store_key, notice.fingerprint)


def _comes_back(known: Label, notice: CheckedNotice) -> bool:
    """Say whether content that is known is to be taken in again.

    What was put back after its removal is; so is what was replaced, sent back, unfit or unchecked and is now saved
    again. A late copy of a notification is not.
    """
    if notice.claims and known.imported and known.state == LabelState.ACTIVE:
        return True
    if known.state == LabelState.REMOVED:
        return not (notice.imported and known.deleted_at is not None)
    if not notice.saved:
        return False
    waited = {LabelState.SUPERSEDED, LabelState.SENT_BACK, LabelState.PREDICTION}
    mended = (known.state == LabelState.QUARANTINED and not notice.quarantined) or (
        known.state == LabelState.PENDING_UPLOAD and not notice.unchecked
    )
    return mended or (known.state in waited and not notice.prediction)


def _write(label: Label, notice: CheckedNotice, actor: str) -> None:
    if notice.label_id is not None:
        label.id = notice.label_id
    label.state, label.deleted_at = notice.state, None
    label.approved, label.reviewed_by, label.review_reason, label.handed_back = False, "", "", False
    label.store_key, label.fingerprint, label.blob = notice.store_key, notice.fingerprint, notice.blob
    label.kind, label.tag, label.place, label.upload_pending = (
        notice.label_kind,
        notice.tag,
        notice.place,
        notice.upload_pending,
    )
    label.imported, label.unedited = notice.imported, notice.unedited
    label.annotated, label.names, label.warnings = notice.annotated, dict(notice.names), list(notice.warnings)
    label.author, label.tool, label.base_version = notice.person or actor, notice.tool, notice.base_version
    label.author_name, label.params = notice.author_name, dict(notice.params)


def _several(rules: DatasetSpec) -> int:
    return rules.annotators_per_image


def next_version(session: Session, image_id: int) -> int:
    """Return the number of an image's next label."""
    return labels.newest_version(session, image_id) + 1

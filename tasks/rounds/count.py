"""How a label counts: one unit that inserts, counts, and opens the round that has become due.

A label is known by data set, image, store key and fingerprint. The same four again change nothing, so a repeated
notification is harmless. Units on one data set are serialised by its row, so the numbers of label events are the
order of commits, and exactly one caller sees a round become due.
"""

from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict
from sqlalchemy import delete, func, select
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.orm import Session

from configs.specs.annotation import AnnotationSpec
from configs.specs.round import RoundSpec
from configs.states import JobStatus, LabelState
from infra.adapters.catalog import jobs, labels, outbox
from infra.adapters.catalog.session import lock
from infra.adapters.catalog.tables import (
    Attempt,
    Candidate,
    Dataset,
    Image,
    Job,
    Label,
    LabelEvent,
    Lease,
    PendingImage,
)
from infra.adapters.catalog.tables.base import now

NoticeKind = Literal["added", "updated", "removed"]


class CheckedNotice(BaseModel):
    """A label that was read and found to fit its image; what the unit needs to know of it."""

    model_config = ConfigDict(frozen=True)

    kind: NoticeKind
    image_id: int
    store_key: str
    fingerprint: str = ""
    blob: str | None = None
    tag: str = "final"
    imported: bool = False
    unedited: bool = False
    annotated: list[str] | None = None
    names: dict[str, str] = {}
    tool: str = ""
    base_version: str | None = None
    params: dict[str, object] = {}
    warnings: list[str] = []
    quarantined: bool = False


def notify(session: Session, dataset_id: str, notices: list[CheckedNotice], actor: str) -> int:
    """Take in labels that were added, updated or removed; return how many changed anything.

    Call it inside a unit; it locks the data set, then its loops.
    """
    dataset = session.scalars(lock(session, select(Dataset).where(Dataset.id == dataset_id))).one()
    loops = jobs.loops_on(session, dataset_id)
    changed = 0
    for notice in notices:
        if notice.kind == "removed":
            changed += _take_out(session, dataset, loops, notice, actor)
        else:
            changed += _take_in(session, dataset, loops, notice, actor)
    for loop in loops:
        open_round_if_due(session, loop)
    return changed


def open_round_if_due(session: Session, loop: Job, *, at_least: int | None = None) -> Job | None:
    """Open the loop's next round if it is due, and return it.

    Args:
        session: A unit that holds the loop's row.
        loop: The annotation job.
        at_least: Labels that make it due; default its `round_size`. 1 = "train now".
    """
    spec = AnnotationSpec.model_validate(loop.spec)
    due = loop.pending >= (at_least or spec.round_size)
    full = spec.stop_criteria.max_rounds is not None and loop.rounds_done >= spec.stop_criteria.max_rounds
    if loop.status != JobStatus.RUNNING or not due or full or jobs.open_child(session, loop.id) is not None:
        return None
    number = jobs.last_round_no(session, loop.id) + 1
    round_ = Job(
        org=loop.org,
        experiment_id=loop.experiment_id,
        dataset_id=loop.dataset_id,
        action="train",
        status=JobStatus.PENDING,
        parent_id=loop.id,
        round_no=number,
        name=f"Round {number}",
        spec=RoundSpec.of(spec).model_dump(mode="json"),
        due_at=session.scalar(select(now())),
        created_by=loop.created_by,
    )
    session.add(round_)
    session.flush()
    session.add(Attempt(job_id=round_.id, n=1))
    outbox.enqueue(session, outbox.OutboxKind.START_FLOW, round_.id, {"attempt": 1})
    return round_


def add_pending(session: Session, loop: Job, image_id: int) -> None:
    """Count an image towards the loop's next round, once."""
    insert = sqlite_insert if session.get_bind().dialect.name == "sqlite" else postgresql_insert
    statement = insert(PendingImage).values(job_id=loop.id, image_id=image_id).on_conflict_do_nothing()
    loop.pending += len(session.execute(statement.returning(PendingImage.image_id)).all())


def _take_in(session: Session, dataset: Dataset, loops: Sequence[Job], notice: CheckedNotice, actor: str) -> int:
    known = labels.find(session, dataset.id, notice.image_id, notice.store_key, notice.fingerprint)
    if known is not None and known.state != LabelState.REMOVED:
        return 0
    kind: str = notice.kind
    if known is None:
        label = _new_label(dataset.id, notice, actor)
        session.add(label)
        session.flush()
    else:
        label, kind = known, "restored"
        label.state, label.deleted_at = LabelState.ACTIVE, None
    if notice.quarantined:
        return 1
    _supersede_earlier(session, label)
    _append_event(session, dataset, label, kind, actor)
    _close_image(session, dataset.id, notice.image_id)
    # Put back after its removal it trains again; it was counted when it first came.
    if known is None and not notice.imported:
        for loop in loops:
            add_pending(session, loop, notice.image_id)
    return 1


def _take_out(session: Session, dataset: Dataset, loops: Sequence[Job], notice: CheckedNotice, actor: str) -> int:
    label = labels.by_store_key(session, notice.image_id, notice.store_key)
    if label is None or label.state != LabelState.ACTIVE:
        return 0
    label.state = LabelState.REMOVED
    _append_event(session, dataset, label, "removed", actor)
    if labels.active_of(session, notice.image_id):
        return 1
    for loop in loops:
        gone = delete(PendingImage).where(PendingImage.job_id == loop.id, PendingImage.image_id == notice.image_id)
        loop.pending -= len(session.execute(gone.returning(PendingImage.image_id)).all())
    image = session.get(Image, notice.image_id)
    if image is not None and not image.skipped_reason:
        image.open = True
    return 1


def _new_label(dataset_id: str, notice: CheckedNotice, actor: str) -> Label:
    return Label(
        dataset_id=dataset_id,
        image_id=notice.image_id,
        store_key=notice.store_key,
        fingerprint=notice.fingerprint,
        blob=notice.blob,
        tag=notice.tag,
        state=LabelState.QUARANTINED if notice.quarantined else LabelState.ACTIVE,
        imported=notice.imported,
        unedited=notice.unedited,
        annotated=notice.annotated,
        names=notice.names,
        author=actor,
        tool=notice.tool,
        base_version=notice.base_version,
        params=notice.params,
        warnings=notice.warnings,
    )


def _supersede_earlier(session: Session, label: Label) -> None:
    for earlier in labels.active_of(session, label.image_id):
        if earlier.id != label.id:
            earlier.state = LabelState.SUPERSEDED


def _append_event(session: Session, dataset: Dataset, label: Label, kind: str, actor: str) -> None:
    dataset.label_seq += 1
    label.seq = dataset.label_seq
    session.add(LabelEvent(dataset_id=dataset.id, seq=dataset.label_seq, kind=kind, label_id=label.id, actor=actor))


def _close_image(session: Session, dataset_id: str, image_id: int) -> None:
    session.execute(delete(Candidate).where(Candidate.image_id == image_id))
    session.execute(delete(Lease).where(Lease.dataset_id == dataset_id, Lease.image_id == image_id))
    image = session.get(Image, image_id)
    if image is not None:
        image.open = False


def count_pending(session: Session, loop_id: str) -> int:
    """Return how many images wait for the loop's next round, counted row by row."""
    return session.scalar(select(func.count()).where(PendingImage.job_id == loop_id)) or 0

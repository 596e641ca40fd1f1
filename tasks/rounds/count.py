"""How a label counts: one unit that inserts, counts, and opens the round that has become due.

A label is known by data set, image, store key and fingerprint. The same four again change nothing, so a repeated
notification is harmless. Units on one data set are serialised by its row, so the numbers of label events are the
order of commits, and exactly one caller sees a round become due.
"""

from collections.abc import Sequence

from sqlalchemy import bindparam, delete, exists, func, insert, select, update
from sqlalchemy.orm import Session
from sqlalchemy.orm.attributes import set_committed_value

from configs.specs.annotation import AnnotationSpec
from configs.specs.dataset import DatasetSpec
from configs.specs.round import RoundSpec
from configs.states import TERMINAL, JobStatus, LabelState
from infra.adapters.catalog import direct, jobs, labels, outbox
from infra.adapters.catalog.locks import lock
from infra.adapters.catalog.tables import Attempt, Base, Dataset, Experiment, Job, Label, Lease, PendingImage
from infra.adapters.catalog.tables.base import now
from tasks.labels.choosing.choose import OCCUPIES, about, people_s
from tasks.labels.incoming.checked import CheckedNotice, NoticeKind
from tasks.labels.incoming.intake import take_in, take_out
from tasks.selection.room import settle_room
from tasks.selection.unspoken import any_left

__all__ = [
    "CheckedNotice",
    "NoticeKind",
    "add_all_pending",
    "count_image",
    "count_pending",
    "hold",
    "notify",
    "open_round_if_due",
    "say_if_out",
    "take_out_label",
]

_LEARNT = select(Experiment.labels, Experiment.learns).where(Experiment.id == bindparam("experiment"))
_HELD = select(Dataset).where(Dataset.id == bindparam("dataset"))
_END_LEASE = delete(Lease).where(
    Lease.dataset_id == bindparam("dataset"),
    Lease.image_id == bindparam("image"),
    Lease.holder == bindparam("person"),
)
# Not ON CONFLICT, which SQLAlchemy compiles anew each time: whoever counts holds the loop, so nobody is faster.
_PENDING = Base.metadata.tables[PendingImage.__tablename__]
_WANTED = [bindparam("loop", type_=_PENDING.c.job_id.type), bindparam("image", type_=_PENDING.c.image_id.type)]
_IS_PENDING = exists().where(_PENDING.c.job_id == bindparam("loop"), _PENDING.c.image_id == bindparam("image"))
_ADD_PENDING = insert(_PENDING).from_select(["job_id", "image_id"], select(*_WANTED).where(~_IS_PENDING))
_ADD_ONE = _ADD_PENDING.returning(_PENDING.c.image_id)
_COUNTED = update(Job).where(Job.id == bindparam("loop")).values(pending=bindparam("images"))
_OUT = "No image is left to label"


def notify(session: Session, dataset_id: str, notices: list[CheckedNotice], actor: str) -> int:
    """Take in labels that were added, updated or removed; return how many changed anything.

    Call it inside a unit; it locks the data set, then its loops.
    """
    dataset, loops = hold(session, dataset_id)
    changed = 0
    for notice in notices:
        take = _take_out if notice.kind == "removed" else _take_in
        with session.no_autoflush:  # nothing is asked of what it changes: that is written at once, behind it
            changed += take(session, dataset, loops, notice, actor)
        session.flush()
    for loop in loops:
        open_round_if_due(session, loop)
        say_if_out(session, loop)
    return changed


def say_if_out(session: Session, loop: Job) -> None:
    """Say in a loop's message if no image is left to label while too few labels wait for a round; else take it back."""
    waits = loop.pending > 0 and loop.status not in TERMINAL
    if waits and _is_out(session, loop) and jobs.open_child(session, loop.id) is None:
        loop.message = (
            f"{_OUT}: {loop.pending} labels wait for a round of {loop.round_size}. Resume the job with round_now to"
            " train with them."
        )
    elif loop.message.startswith(_OUT):
        loop.message = ""


def _is_out(session: Session, loop: Job) -> bool:
    """Say whether nobody has an image of the loop's, and nobody could get one."""
    if any_left(session, loop.dataset_id or "", loop.experiment_id):
        return False
    leased = select(Lease.image_id).where(Lease.dataset_id == loop.dataset_id, Lease.until > now()).limit(1)
    return session.scalar(leased) is None


def hold(session: Session, dataset_id: str) -> tuple[Dataset, Sequence[Job]]:
    """Return a data set and the loops that count its labels, their rows held until the unit ends."""
    dataset = session.scalars(lock(session, _HELD), {"dataset": dataset_id}).one()
    return dataset, jobs.loops_on(session, dataset_id)


def count_image(
    session: Session,
    dataset: Dataset,
    loops: Sequence[Job],
    image_id: int,
    *,
    new: str = "",
    said: Sequence[Label] | None = None,
) -> None:
    """Bring what is pending, and whether the image is open, up to date with the image's labels.

    Args:
        session: A unit that holds the data set and its loops.
        dataset: The image's.
        loops: Those that count its labels.
        image_id: The image.
        new: The kind of label by which somebody said something new of it: if it is complete by that, it counts where
            its names are learnt from this kind. Empty = nothing new.
        said: The labels that say something of it, where they are known already.
    """
    rules = DatasetSpec.model_validate(dataset.spec)
    if said is None:
        session.flush()
        said = labels.occupying(session, image_id)
    for loop in loops:
        names, learns = direct.run(session, _LEARNT, {"experiment": loop.experiment_id}).tuples().one()
        active = [label for label in said if label.state == LabelState.ACTIVE and label.kind == learns]
        complete = bool(people_s(about(active, names), rules))
        if complete and new == learns:
            _add_pending(session, loop, image_id)
        elif not complete:
            _drop_pending(session, loop, image_id)
    settle_room(session, image_id, rules.annotators_per_image, said)


def take_out_label(session: Session, dataset: Dataset, loops: Sequence[Job], label: Label, actor: str) -> bool:
    """Take one label out of counting and training; its image waits again. False if it was out already."""
    if not take_out(session, dataset, label, actor):
        return False
    count_image(session, dataset, loops, label.image_id)
    return True


def open_round_if_due(session: Session, loop: Job, *, at_least: int | None = None) -> Job | None:
    """Open the loop's next round if it is due, and return it.

    Args:
        session: A unit that holds the loop's row.
        loop: The annotation job.
        at_least: Labels that make it due; default its `round_size`. 1 = "train now".
    """
    if loop.status != JobStatus.RUNNING or loop.pending < (at_least or loop.round_size or 1):
        return None
    spec = AnnotationSpec.model_validate(loop.spec)
    due = loop.pending >= (at_least or spec.round_size)
    full = spec.stop_criteria.max_rounds is not None and loop.rounds_done >= spec.stop_criteria.max_rounds
    if not due or full or jobs.open_child(session, loop.id) is not None:
        return None
    number = jobs.last_round_no(session, loop.id) + 1
    # Nothing here is seen by others before the unit ends, and the data set's row keeps all who count apart: one round
    # opens.
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


def _add_pending(session: Session, loop: Job, image_id: int) -> None:
    """Count an image towards the loop's next round, once."""
    # `pending` counts rows that were really made, so a label that is updated counts its image once.
    if direct.run(session, _ADD_ONE, {"loop": loop.id, "image": image_id}).all():
        direct.run(session, _COUNTED, {"loop": loop.id, "images": loop.pending + 1})
        set_committed_value(loop, "pending", loop.pending + 1)


def add_all_pending(session: Session, loop: Job, image_ids: Sequence[int]) -> None:
    """Count images towards the loop's next round, each once: very many in one statement."""
    if image_ids:
        session.execute(_ADD_PENDING, [{"loop": loop.id, "image": image_id} for image_id in image_ids])
        loop.pending = count_pending(session, loop.id)


def _take_in(session: Session, dataset: Dataset, loops: Sequence[Job], notice: CheckedNotice, actor: str) -> int:
    taken = take_in(session, dataset, notice, actor)
    if taken is not None and taken.label.state in OCCUPIES:
        _end_lease(session, taken.label)
        new = taken.label.kind if taken.counts else ""
        count_image(session, dataset, loops, notice.image_id, new=new, said=taken.said)
    return taken is not None


def _take_out(session: Session, dataset: Dataset, loops: Sequence[Job], notice: CheckedNotice, actor: str) -> int:
    label = session.get(Label, notice.label_id) if notice.label_id is not None else None
    label = label or labels.by_store_key(session, notice.image_id, notice.store_key)
    return label is not None and take_out_label(session, dataset, loops, label, actor)


def _drop_pending(session: Session, loop: Job, image_id: int) -> None:
    gone = delete(PendingImage).where(PendingImage.job_id == loop.id, PendingImage.image_id == image_id)
    loop.pending -= len(session.execute(gone.returning(PendingImage.image_id)).all())


def _end_lease(session: Session, label: Label) -> None:
    mine = {"dataset": label.dataset_id, "image": label.image_id, "person": label.author}
    direct.run(session, _END_LEASE, mine)


def count_pending(session: Session, loop_id: str) -> int:
    """Return how many images wait for the loop's next round, counted row by row."""
    return session.scalar(select(func.count()).where(PendingImage.job_id == loop_id)) or 0

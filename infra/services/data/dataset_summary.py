"""How the data sets are: whether their stores answer, and how many images there are for what."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from sqlalchemy import func, literal_column, select
from sqlalchemy.orm import Session

from infra.adapters.catalog import datasets as catalog
from infra.adapters.catalog.tables import Dataset, Image, SeenLabel
from infra.services.callers import Caller, Right, allow
from infra.wiring import Parts
from tasks.selection.skip import SYSTEM

BY_A_PERSON = "by a person"


@dataclass(frozen=True)
class DatasetSummary:
    """One data set. `waiting` images are free to be given; `skipped` counts the others that are not labelled either.

    `labels_left_out` counts labels found at its source that nothing learns from, by why.
    """

    dataset: Dataset
    images: int = 0
    waiting: int = 0
    skipped: dict[str, int] = field(default_factory=dict)
    labels_left_out: dict[str, int] = field(default_factory=dict)


def summaries(parts: Parts, caller: Caller) -> Sequence[DatasetSummary]:
    """Return the organisation's data sets with their images counted; skipped ones by what they are."""
    allow(caller, Right.READ)
    with parts.catalog.read() as session:
        rows = catalog.listed(session, caller.org)
        return [_summary(session, row) for row in rows]


def _summary(session: Session, row: Dataset) -> DatasetSummary:
    """Count what is not free: it is less than what is, and an index has it."""
    # The literal lets SQLite see that its index of skipped images has them all: a parameter does not.
    by = (Image.skipped_by, Image.skipped_reason)
    out = (
        select(*by, func.count())
        .where(Image.dataset_id == row.id, Image.skipped_reason != literal_column("''"))
        .group_by(*by)
    )
    skipped = Counter[str]()
    for skipped_by, reason, count in session.execute(out).tuples():
        skipped[_kind(skipped_by, reason)] += count
    closed = session.scalar(select(func.count()).where(Image.dataset_id == row.id, Image.open.is_(False))) or 0
    free, given = row.images - skipped.total(), row.images - closed
    return DatasetSummary(row, free, given, dict(skipped.most_common()), _left_out(session, row.id))


def _left_out(session: Session, dataset_id: str) -> dict[str, int]:
    count = func.count()
    found = select(SeenLabel.left_out, count).where(
        SeenLabel.dataset_id == dataset_id, SeenLabel.left_out != literal_column("''")
    )
    return dict(session.execute(found.group_by(SeenLabel.left_out).order_by(count.desc())).tuples().all())


def summary(parts: Parts, caller: Caller, name: str) -> DatasetSummary:
    """Return one data set, by id or name.

    Raises:
        NotFoundError: If the organisation has neither.
    """
    allow(caller, Right.READ)
    with parts.catalog.read() as session:
        wanted = catalog.find(session, caller.org, name).id
    return next(found for found in summaries(parts, caller) if found.dataset.id == wanted)


def _kind(skipped_by: str, reason: str) -> str:
    """Return what an image is counted as: the system's reasons begin with it."""
    return reason.partition(": ")[0] if skipped_by == SYSTEM else BY_A_PERSON

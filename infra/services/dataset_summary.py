"""How the data sets are: whether their stores answer, and how many images there are for what."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from sqlalchemy import func, select

from infra.adapters.catalog import datasets as catalog
from infra.adapters.catalog.tables import Dataset, Image
from infra.services.callers import Caller, Right, allow
from infra.wiring import Parts
from tasks.selection.skip import SYSTEM

BY_A_PERSON = "by a person"


@dataclass(frozen=True)
class DatasetSummary:
    """One data set. `waiting` images are free to be given; `skipped` counts the others that are not labelled either."""

    dataset: Dataset
    images: int = 0
    waiting: int = 0
    skipped: dict[str, int] = field(default_factory=dict)


def summaries(parts: Parts, caller: Caller) -> Sequence[DatasetSummary]:
    """Return the organisation's data sets with their images counted; skipped ones by what they are."""
    allow(caller, Right.READ)
    with parts.catalog.read() as session:
        rows = catalog.listed(session, caller.org)
        by = (Image.dataset_id, Image.open, Image.skipped_by, Image.skipped_reason)
        query = select(*by, func.count()).where(Image.dataset_id.in_([row.id for row in rows])).group_by(*by)
        images, waiting = Counter[str](), Counter[str]()
        skipped: dict[str, Counter[str]] = {row.id: Counter() for row in rows}
        for dataset, is_open, skipped_by, reason, count in session.execute(query):
            if reason:
                skipped[dataset][_kind(skipped_by, reason)] += count
                continue
            images[dataset] += count
            waiting[dataset] += count if is_open else 0
    return [DatasetSummary(row, images[row.id], waiting[row.id], dict(skipped[row.id].most_common())) for row in rows]


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

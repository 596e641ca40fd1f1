"""Lists as people ask for them: filtered, sorted, and cut into pages."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from infra.adapters.catalog.experiments import Order
from infra.adapters.catalog.tables import Dataset, Experiment, Job, Workspace

_Row = TypeVar("_Row", Dataset, Experiment, Job, Workspace)
_Item = TypeVar("_Item")


@dataclass(frozen=True)
class Page:
    """A part of a list. None: from the beginning, to the end; `name` keeps equal names, `!name` all others."""

    skip: int | None = None
    size: int | None = None
    sort: Order = "date-descending"
    name: str | None = None


@dataclass(frozen=True)
class Cut(Generic[_Item]):
    """The rows of one page, and how many there are on all."""

    rows: Sequence[_Item]
    total: int


def keeps(wanted: str | None, *values: str) -> bool:
    """Say whether values pass a filter: one is equal, or with a leading `!` none is; None lets all pass."""
    if wanted is None:
        return True
    return wanted[1:] not in values if wanted.startswith("!") else wanted in values


def cut(rows: Sequence[_Row], page: Page, *, keep: Callable[[_Row], bool] | None = None) -> Cut[_Row]:
    """Return one page of the rows that pass the filters, in the order that was asked for."""
    kept = [row for row in rows if keeps(page.name, row.name) and (keep is None or keep(row))]
    if page.sort.startswith("name"):
        kept.sort(key=_name, reverse=page.sort == "name-descending")
    else:
        kept.sort(key=lambda row: row.modified_at, reverse=page.sort == "date-descending")
    begin = page.skip or 0
    end = None if page.size is None else begin + page.size
    return Cut(kept[begin:end], len(kept))


def _name(row: Dataset | Experiment | Job | Workspace) -> str:
    """Return what a row is sorted by: rows of one name by their version."""
    return f"{row.name}:{row.shown.get('version', '')}" if isinstance(row, Dataset | Experiment) else row.name

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
    """A part of a list. `size` None = to the end; `name` keeps equal names, `!name` all others."""

    skip: int = 0
    size: int | None = None
    sort: Order = "date-descending"
    name: str | None = None


@dataclass(frozen=True)
class Cut(Generic[_Item]):
    """The rows of one page, and how many there are on all."""

    rows: Sequence[_Item]
    total: int


def keeps(wanted: str | None, value: str) -> bool:
    """Say whether a value passes a filter: equal, or with a leading `!` not equal; None lets all pass."""
    if wanted is None:
        return True
    return value != wanted[1:] if wanted.startswith("!") else value == wanted


def cut(rows: Sequence[_Row], page: Page, *, keep: Callable[[_Row], bool] | None = None) -> Cut[_Row]:
    """Return one page of the rows that pass the filters, in the order that was asked for."""
    kept = [row for row in rows if keeps(page.name, row.name) and (keep is None or keep(row))]
    if page.sort.startswith("name"):
        kept.sort(key=lambda row: row.name, reverse=page.sort == "name-descending")
    else:
        kept.sort(key=lambda row: row.modified_at, reverse=page.sort == "date-descending")
    end = None if page.size is None else page.skip + page.size
    return Cut(kept[page.skip : end], len(kept))

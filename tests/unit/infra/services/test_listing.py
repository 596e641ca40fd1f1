"""Lists in pages."""

import pytest

from infra.adapters.catalog.experiments import Order
from infra.adapters.catalog.tables import Dataset
from infra.services.listing import Page, cut, keeps

ROWS = [Dataset(name=name, modified_at=moment, shown={}) for name, moment in (("b", 3.0), ("a", 1.0), ("c", 2.0))]


@pytest.mark.parametrize(
    ("sort", "names"),
    [("date-descending", "bca"), ("date-ascending", "acb"), ("name-ascending", "abc"), ("name-descending", "cba")],
)
def test_rows_come_in_the_order_that_was_asked_for(sort: Order, names: str) -> None:
    assert "".join(row.name for row in cut(ROWS, Page(sort=sort)).rows) == names


@pytest.mark.parametrize(("skip", "size", "names"), [(0, 2, "ab"), (1, None, "bc"), (2, 5, "c"), (9, 1, "")])
def test_a_page_is_cut_out_and_the_total_is_that_of_all_pages(skip: int, size: int | None, names: str) -> None:
    found = cut(ROWS, Page(skip=skip, size=size, sort="name-ascending"))
    assert ("".join(row.name for row in found.rows), found.total) == (names, 3)


def test_filters_count_before_pages_are_cut() -> None:
    assert cut(ROWS, Page(size=1, name="!b")).total == 2
    assert cut(ROWS, Page(), keep=lambda row: row.modified_at > 1).total == 2


@pytest.mark.parametrize(
    ("wanted", "value", "kept"),
    [(None, "x", True), ("x", "x", True), ("x", "xy", False), ("!x", "x", False), ("!x", "y", True)],
)
def test_a_leading_exclamation_mark_negates(wanted: str | None, value: str, kept: bool) -> None:
    assert keeps(wanted, value) is kept

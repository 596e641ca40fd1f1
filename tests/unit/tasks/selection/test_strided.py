"""Any beginning of a strided order lies evenly."""

from itertools import pairwise

import pytest

from tasks.selection.strided import spread


def test_places_come_in_the_order_of_their_bits_reversed() -> None:
    assert list(spread(8)) == [0, 4, 2, 6, 1, 5, 3, 7]


@pytest.mark.parametrize("count", [0, 1, 2, 5, 1000])
def test_each_place_comes_once(count: int) -> None:
    assert sorted(spread(count)) == list(range(count))


def test_the_first_places_are_never_neighbours() -> None:
    first = sorted(place for place, _ in zip(spread(1000), range(30), strict=False))
    assert min(after - before for before, after in pairwise(first)) > 20

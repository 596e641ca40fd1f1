"""Outlines go around the pixels of a region, and a network's noise is refused."""

import numpy as np
import pytest

from configs.errors import InvalidRequestError
from tasks.labels.forms.outlines import MOST, outlines


def test_a_region_has_one_outline_which_its_holes_have_not_and_small_ones_have_none() -> None:
    label = np.zeros((30, 20), np.uint8)
    label[5:15, 5:12], label[8:10, 8:10] = 1, 0
    label[0:4, 0:3] = 2
    label[20:22, 0:3] = 2  # six pixels
    label[4, 3] = 2  # touches the second by a corner only
    found = {each.value: each.points for each in outlines(label, 7)}
    assert sorted(found) == [1, 2]
    for value, low, high in ((1, (5, 5), (15, 12)), (2, (0, 0), (4, 3))):
        assert found[value].min(axis=0).tolist() == list(low)
        assert found[value].max(axis=0).tolist() == list(high)
        assert found[value][0].tolist() == found[value][-1].tolist(), "it is closed"
    assert outlines(np.zeros((4, 4), np.uint8), 0) == []


def test_more_regions_than_anybody_looks_at_are_refused() -> None:
    columns, rows = np.indices((2 * MOST // 100, 200))
    noise = ((columns + rows) % 2).astype(np.uint8)
    with pytest.raises(InvalidRequestError, match="larger min_poly_area"):
        outlines(noise, 1)
    assert outlines(noise, 2) == []

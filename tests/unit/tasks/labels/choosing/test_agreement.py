"""Two masks agree by values worked out by hand."""

import numpy as np
import pytest

from tasks.images.geometry import Geometry
from tasks.labels.choosing.agreement import agreement
from tasks.labels.forms.label_map import LabelMap

IMAGE = Geometry((8, 8, 4), np.diag([1.0, 1.0, 3.0, 1.0]))


def _slab(at: int, value: int = 1) -> LabelMap:
    array = np.zeros(IMAGE.shape, np.uint8)
    array[2:6, 2:6, at] = value
    return LabelMap(array)


def test_the_same_voxels_agree_wholly_whatever_their_values_are_numbered() -> None:
    found = agreement(_slab(1), _slab(1, 7), IMAGE, ({"1": "Liver"}, {"7": "liver"}))
    assert found["liver"].dice == 1
    assert found["liver"].surface_mm == 0


def test_slabs_beside_each_other_share_nothing_and_lie_a_slice_apart() -> None:
    [found] = agreement(_slab(1), _slab(2), IMAGE, ({}, {})).values()
    assert found.dice == 0
    assert found.surface_mm == pytest.approx(3.0)


def test_what_only_one_marks_has_no_distance() -> None:
    found = agreement(_slab(1), LabelMap(np.zeros(IMAGE.shape, np.uint8)), IMAGE, ({"1": "liver"}, {"2": "spleen"}))
    assert {name: (one.dice, one.surface_mm) for name, one in found.items()} == {"liver": (0, None)}

"""kill -9 of the API while several save: a few of what `make soak` does a hundred times."""

from pathlib import Path

import pytest

from tests.soak.saves import kills_at_points, kills_at_random

pytestmark = pytest.mark.slow


def test_no_label_is_lost_or_doubled_when_the_api_is_killed_at_any_moment(tmp_path: Path) -> None:
    done = kills_at_random(tmp_path, kills=3, images=100)
    assert done.found.nothing, str(done.found)
    assert done.acknowledged > 0


def test_no_label_is_lost_or_doubled_when_the_api_is_killed_at_its_worst_moments(tmp_path: Path) -> None:
    done = kills_at_points(tmp_path, points=("label-bytes-stored", "label-committed"), kills=2, images=20)
    assert done.found.nothing, str(done.found)
    assert done.repeated > 0

"""The mark of live requests: true for half a second, whatever its writer does after."""

import struct
import time
from pathlib import Path

import pytest

from configs.wire.busy import LASTS_S, BusyMark, make
from infra.doors.realtime.busy import Busy
from tests.processes import wait_until


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    """The file of a device's mark."""
    path = tmp_path / "run" / "cpu-0"
    make(path)
    return path


def test_a_mark_is_seen_by_others_and_ends_by_itself(mark: Path) -> None:
    seen = BusyMark(mark, writable=False)
    assert not seen.is_set
    BusyMark(mark, writable=True).set()
    assert seen.is_set
    wait_until(lambda: not seen.is_set, "the mark's end", step_s=LASTS_S / 4)


@pytest.mark.parametrize("ahead_s", [-1.0, 3600.0])
def test_a_mark_of_another_time_says_nothing(mark: Path, ahead_s: float) -> None:
    mark.write_bytes(struct.pack("<d", time.monotonic() + ahead_s))
    assert not BusyMark(mark, writable=False).is_set


def test_the_mark_is_set_as_long_as_somebody_is_inside(mark: Path) -> None:
    busy, seen = Busy(mark), BusyMark(mark, writable=False)
    with busy:
        first = mark.read_bytes()
        wait_until(lambda: mark.read_bytes() != first, "the mark to be set again", step_s=0.02)
        assert seen.is_set
    wait_until(lambda: not seen.is_set, "the mark's end", step_s=LASTS_S / 4)

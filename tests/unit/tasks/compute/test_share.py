"""A host keeps to its part of a device."""

import os
from pathlib import Path
from threading import Event, Thread

from configs.wire.busy import BusyMark, make
from configs.wire.message import DeviceShare
from tasks.compute import share


def test_between_two_steps_it_waits_until_nobody_waits_for_a_prediction(tmp_path: Path) -> None:
    make(tmp_path / "cpu-0")
    mark = BusyMark(tmp_path / "cpu-0", writable=True)
    before = os.nice(0)
    share.take(DeviceShare(busy=str(tmp_path / "cpu-0")))
    mark.set()
    share.give_way()
    assert not mark.is_set
    assert os.nice(0) == before


def test_under_endless_load_it_goes_on_after_a_while(tmp_path: Path) -> None:
    make(tmp_path / "cpu-0")
    mark, end = BusyMark(tmp_path / "cpu-0", writable=True), Event()

    def load() -> None:
        while not end.is_set():
            mark.set()
            end.wait(0.05)

    share.take(DeviceShare(busy=str(tmp_path / "cpu-0")))
    mark.set()
    loader = Thread(target=load)
    loader.start()
    share.give_way()
    assert mark.is_set
    end.set()
    loader.join()

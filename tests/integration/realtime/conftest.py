"""A slot that runs as it does in production: a process of its own, watched over by a babysitter."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Event, Thread

import pytest

from infra.adapters.catalog.tables import Slot
from infra.doors.realtime.slot import EXIT_DONE, SlotProcess
from infra.wiring import Parts
from tasks.serving.babysit import Babysitter
from tasks.serving.slots import wait_ready
from tests.realtime_home import Realtime, open_realtime

READY_S = 120.0


@dataclass(frozen=True)
class Running:
    """A slot and who watches over it."""

    home: Realtime
    slot_id: str
    babysitter: Thread

    @property
    def row(self) -> Slot:
        """The slot as it is now."""
        return self.home.slot(self.slot_id)


@pytest.fixture(scope="module")
def realtime(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Realtime]:
    """An experiment with four images, published with a version that answers label 1 everywhere."""
    opened = open_realtime(tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("images"))
    yield opened
    opened.parts.close()


@pytest.fixture(scope="module")
def running(realtime: Realtime) -> Iterator[Running]:
    """Its slot, ready."""
    slot_id = realtime.want()
    babysitter = Babysitter(realtime.parts, slot_id, first_delay_s=0.1)
    thread = Thread(target=babysitter.watch)
    thread.start()
    try:
        wait_ready(realtime.parts, slot_id, READY_S)
        yield Running(realtime, slot_id, thread)
    finally:
        realtime.switch_off(slot_id)
        thread.join(60)


@contextmanager
def served(home: Realtime, parts: Parts) -> Iterator[Slot]:
    """Serve a slot in this process."""
    slot_id, stop, statuses = home.want(), Event(), list[int]()
    thread = Thread(target=lambda: statuses.append(SlotProcess(parts, slot_id, stop).run()))
    thread.start()
    try:
        yield wait_ready(home.parts, slot_id, READY_S)
    finally:
        stop.set()
        thread.join(60)
    assert statuses == [EXIT_DONE]

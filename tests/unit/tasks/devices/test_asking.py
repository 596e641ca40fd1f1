"""Places for what takes much memory."""

from threading import Semaphore

import pytest

from configs.errors import BusyError
from tasks.devices.asking import place


def test_who_finds_no_place_in_time_is_told_to_ask_again() -> None:
    places = Semaphore(1)
    with place(places, 0.01), pytest.raises(BusyError, match="ask again"), place(places, 0.01):
        pass
    with place(places, 0.01):
        pass

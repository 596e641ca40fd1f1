"""kill -9 of a realtime slot's process under load: no wrong answer, and then answers again."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import cycle

import httpx
import pytest

from tests.crash.ward import CASES, Ward
from tests.fixtures_installation import client
from tests.processes import wait_until

CLIENTS = 3
OK, BUSY, BROKEN = 201, 503, 0


@pytest.mark.slow
def test_clients_of_a_killed_slot_are_answered_or_asked_to_come_back_until_it_serves_again(ward: Ward) -> None:
    published, slot = ward.models(), ward.slot()["id"]
    wait_until(lambda: ward.slot()["serving_seq"] == published["published_seq"], "the newest version to be served")
    (process,) = ward.installation.processes("infra.doors.realtime", slot)
    with _load(ward) as answers:
        wait_until(lambda: len(answers) >= 2 * CLIENTS, "answers before")

        os.kill(process.pid, signal.SIGKILL)

        before = len(answers) + CLIENTS  # what was on its way
        wait_until(lambda: [status for status, _ in answers[before:]].count(OK) >= CLIENTS, "answers after")
    assert {status for status, _ in answers} <= {OK, BUSY}
    assert {version for status, version in answers if status == OK} == {published["published_version"]}
    (again,) = ward.installation.processes("infra.doors.realtime", slot)
    assert again.pid != process.pid


@contextmanager
def _load(ward: Ward) -> Iterator[list[tuple[int, str]]]:
    """Let several clients ask for image after image; gives what they were answered: status and model version."""
    answers: list[tuple[int, str]] = []
    stop = threading.Event()

    def ask(first: int) -> None:
        images = cycle(range(1, CASES + 1))
        for _ in range(first):
            next(images)
        with client(ward.installation.address, ward.installation.key) as http:
            asking = Ward(ward.installation, http, ward.catalog, ward.truth, ward.dataset, ward.experiment)
            while not stop.is_set():
                answered = _answered(asking, next(images))
                answers.append(answered)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    try:
        yield answers
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def _answered(ward: Ward, image: int) -> tuple[int, str]:
    try:
        response = ward.infer(image)
    except httpx.TransportError:
        return BROKEN, ""
    return response.status_code, response.headers.get("X-Teachback-Version", "")

"""The slot's door: bounded lanes, a token, and refusals that say what to do."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread
from typing import cast

import httpx
import pytest

from configs.errors import BusyError, NotFoundError, UnauthorizedError
from configs.wire.slot import TOKEN_HEADER, SlotHealth, SlotPredict
from infra.adapters.slots.client import DrainingSlotError, SlotClient, UnreachableSlotError
from infra.doors.realtime.answers import Answer, Ticket
from infra.doors.realtime.app import create_app
from infra.doors.realtime.lanes import Lanes
from infra.doors.realtime.server import listening
from infra.doors.realtime.versions import Served
from tests.processes import wait_until

TOKEN = "t" * 64
MISSING = 404


class HeldBack:
    """Lets live requests in as the slot does, and answers them when told."""

    def __init__(self, live_limit: int) -> None:
        self.go = Event()
        self.hinted: list[int] = []
        self.lanes = Lanes(live_limit, 1, self._note)

    def accept(self, request: SlotPredict) -> Ticket:
        self.lanes.enter()
        return Ticket(request, cast("Served", None), 0.0)

    def answer(self, ticket: Ticket) -> Answer:
        try:
            assert self.go.wait(30)
            if ticket.request.image_id == MISSING:
                raise NotFoundError("image", "404")
            return Answer(b"label", "mask", "v1", 7, cached=False, seconds=0.5, score=None)
        finally:
            self.lanes.leave()

    def offer(self, request: SlotPredict) -> None:
        self.lanes.offer(request)

    def health(self) -> SlotHealth:
        return SlotHealth(
            slot="s",
            version="v1",
            seq=7,
            accepting=self.lanes.accepting,
            live_waiting=self.lanes.live,
            background_waiting=self.lanes.background,
        )

    def _note(self, request: SlotPredict) -> None:
        assert self.go.wait(30)
        self.hinted.append(request.image_id)


def _asking(image_id: int = 1) -> SlotPredict:
    return SlotPredict(dataset_id="d", image_id=image_id)


@pytest.fixture
def serving() -> Iterator[HeldBack]:
    held_back = HeldBack(live_limit=1)
    yield held_back
    held_back.go.set()
    held_back.lanes.close()


@pytest.fixture
def client() -> Iterator[SlotClient]:
    opened = SlotClient()
    yield opened
    opened.close()


@contextmanager
def _one_inside(client: SlotClient, endpoint: str, serving: HeldBack) -> Iterator[None]:
    """Have one live request under way."""
    thread = Thread(target=client.predict, args=(endpoint, TOKEN, _asking(), 30.0))
    thread.start()
    wait_until(lambda: serving.lanes.live == 1, "the first request to come in", step_s=0.01)
    yield
    serving.go.set()
    thread.join(30)


def test_one_more_than_the_live_lane_holds_is_told_when_to_ask_again(serving: HeldBack, client: SlotClient) -> None:
    with (
        listening(create_app(serving, TOKEN)) as endpoint,
        _one_inside(client, endpoint, serving),
        pytest.raises(BusyError, match="under way") as refused,
    ):
        client.predict(endpoint, TOKEN, _asking(), 30.0)

    assert refused.value.retry_after_s == 2
    assert serving.lanes.wait_idle(5)


def test_a_draining_slot_refuses_and_finishes_what_it_has(serving: HeldBack, client: SlotClient) -> None:
    with listening(create_app(serving, TOKEN)) as endpoint, _one_inside(client, endpoint, serving):
        serving.lanes.close()
        with pytest.raises(DrainingSlotError):
            client.predict(endpoint, TOKEN, _asking(), 30.0)
        assert not serving.lanes.wait_idle(0.01)

    assert serving.lanes.wait_idle(5)


def test_background_requests_beyond_the_lane_are_dropped_and_the_others_done(
    serving: HeldBack, client: SlotClient
) -> None:
    with listening(create_app(serving, TOKEN)) as endpoint:
        for image_id in range(6):
            client.hint(endpoint, TOKEN, _asking(image_id))
        serving.go.set()
        wait_until(lambda: serving.lanes.background == 0, "the background lane to be empty", step_s=0.01)

    assert 1 <= len(serving.hinted) <= 2


def test_without_the_token_nobody_is_answered(serving: HeldBack, client: SlotClient) -> None:
    with listening(create_app(serving, TOKEN)) as endpoint:
        with pytest.raises(UnreachableSlotError):
            client.predict(endpoint, "another", _asking(), 5.0)
        with pytest.raises(UnreachableSlotError):
            client.health(endpoint, "")
        assert client.health(endpoint, TOKEN).accepting

    assert serving.lanes.live == 0
    assert issubclass(UnreachableSlotError, BusyError)
    assert not issubclass(UnreachableSlotError, UnauthorizedError)


def test_an_image_that_is_not_there_is_named_and_its_place_in_the_lane_is_free_again(
    serving: HeldBack, client: SlotClient
) -> None:
    serving.go.set()
    with listening(create_app(serving, TOKEN)) as endpoint:
        for _ in range(2):
            with pytest.raises(NotFoundError, match="'404'"):
                client.predict(endpoint, TOKEN, _asking(MISSING), 5.0)

        assert client.predict(endpoint, TOKEN, _asking(), 5.0).seq == 7


def test_a_slot_that_is_gone_is_said_to_be_unreachable(client: SlotClient, serving: HeldBack) -> None:
    with listening(create_app(serving, TOKEN)) as endpoint:
        pass

    with pytest.raises(UnreachableSlotError):
        client.predict(endpoint, TOKEN, _asking(), 5.0)


def test_a_browsers_page_and_a_foreign_host_name_are_refused_whatever_they_show(serving: HeldBack) -> None:
    with listening(create_app(serving, TOKEN)) as address:
        token = {TOKEN_HEADER: TOKEN}
        body = _asking().model_dump(mode="json")
        page = httpx.post(f"{address}/predict", json=body, headers={**token, "Origin": "https://evil.example"})
        rebound = httpx.get(f"{address}/health", headers={**token, "Host": "evil.example"})
        assert (page.status_code, rebound.status_code) == (403, 400)
        assert httpx.get(f"{address}/health", headers=token).status_code == 200

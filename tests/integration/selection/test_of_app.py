"""What an app's host chooses becomes an order, however long it takes and whatever it says."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier, Event

import pytest
from sqlalchemy import select

from configs.specs.round import RoundSpec
from configs.wire.apps import AppOrderRequest, Chosen, SayOfImage
from configs.wire.host import HostCommand, HostMessage, HostRequest
from infra.adapters.catalog.tables import Candidate, Experiment, ImageInfo
from infra.wiring import Parts
from tasks.rounds.jobs.start import start_train
from tasks.selection.of_app import MOST, choose_now
from tasks.selection.refresh import refresh_scores
from tasks.selection.scores import Scored
from tests.builders import BUNDLE, World, build
from tests.hosts_in_memory import HostInMemory, HostsInMemory
from tests.runs_in_memory import RunsInMemory

LIMIT_S = 30.0
Says = Callable[["AppHost"], Iterator[HostMessage]]


class AppHost(HostInMemory):
    """A host of an app that says what a test has it say."""

    def __init__(self, says: Says) -> None:
        self._says = says
        self.killed = Event()

    def messages(self) -> Iterator[HostMessage]:
        yield from self._says(self)

    def send(self, command: HostCommand) -> None:
        """Take an answer."""

    def kill(self) -> None:
        self.killed.set()


class AppHosts(HostsInMemory):
    """Starts them, when `start` allows."""

    def __init__(self, says: Says, start: Callable[[], object] = lambda: None) -> None:
        self._says, self._start = says, start

    def host(self, request: HostRequest, work: Path) -> AppHost:
        assert isinstance(request, AppOrderRequest), work
        self._start()
        return AppHost(self._says)


@pytest.fixture
def world(parts: Parts) -> World:
    """Three images, of which an experiment's app says which comes next."""
    bundle = parts.settings.home / "bundles" / BUNDLE / "configs"
    bundle.mkdir(parents=True)
    (bundle / "metadata.json").write_text("{}")
    made = build(parts.catalog, images=3)
    with parts.catalog.write() as session:
        session.get_one(Experiment, made.experiment).strategy = "app:best"
    return made


def _order(parts: Parts) -> list[int]:
    with parts.catalog.read() as session:
        return list(session.scalars(select(Candidate.image_id).order_by(Candidate.score.desc())))


def _choose(parts: Parts, runs: RunsInMemory, world: World, hosts: AppHosts, limit_s: float) -> str | None:
    mine = Parts(parts.settings.model_copy(update={"strategy_s": limit_s}), orchestrator=runs)
    hosts.put_into(mine)
    try:
        return choose_now(mine, world.experiment, world.dataset, "app:best")
    finally:
        mine.close()


def test_an_app_gives_way_to_a_round_and_what_it_said_is_kept(parts: Parts, world: World) -> None:
    def says(host: AppHost) -> Iterator[HostMessage]:
        yield SayOfImage(image="image-000", said={"contrast": 1})
        with parts.catalog.write() as session:
            start_train(session, session.get_one(Experiment, world.experiment), RoundSpec(), actor="ann")
        yield Chosen(image="image-001")
        assert host.killed.wait(LIMIT_S)

    AppHosts(says).put_into(parts)

    assert refresh_scores(parts, world.experiment, world.dataset) == Scored(0, gave_way=True)
    assert _order(parts) == []
    with parts.catalog.read() as session:
        assert session.scalars(select(ImageInfo.said)).all() == [{"contrast": 1}]


def test_an_image_counts_once_and_no_more_is_heard_than_was_asked_for(parts: Parts, world: World) -> None:
    said = list[int]()

    def says(_: AppHost) -> Iterator[HostMessage]:
        for number in range(100 * MOST):
            said.append(number)
            yield Chosen(image=f"image-{number % 2:03}")

    AppHosts(says).put_into(parts)

    assert refresh_scores(parts, world.experiment, world.dataset) == Scored(2)
    assert _order(parts) == world.images[:2]
    assert len(said) == MOST


def test_of_two_refreshes_at_once_one_orders_behind_the_other(parts: Parts, world: World) -> None:
    both = Barrier(2)

    def says(_: AppHost) -> Iterator[HostMessage]:
        for name in ("image-002", "image-000"):
            yield Chosen(image=name)
        both.wait(LIMIT_S)

    AppHosts(says).put_into(parts)
    with ThreadPoolExecutor(2) as pool:
        for _ in range(3):
            asked = [pool.submit(refresh_scores, parts, world.experiment, world.dataset) for _ in range(2)]
            assert [each.result() for each in asked] == [Scored(2), Scored(2)]

    assert _order(parts) == [world.images[2], world.images[0]]


def test_a_host_that_is_long_in_starting_is_not_waited_for(parts: Parts, world: World, runs: RunsInMemory) -> None:
    def says(_: AppHost) -> Iterator[HostMessage]:
        yield Chosen(image="image-002")

    over = Event()
    slow = AppHosts(says, lambda: over.wait(LIMIT_S))

    assert _choose(parts, runs, world, AppHosts(says), LIMIT_S) == "image-002"
    assert _choose(parts, runs, world, slow, 0.1) is None
    over.set()


def test_a_full_disk_chooses_no_image_and_fails_nobody(parts: Parts, world: World, runs: RunsInMemory) -> None:
    def full() -> None:
        raise OSError(28, "No space left on device")

    assert _choose(parts, runs, world, AppHosts(lambda _: iter(()), full), LIMIT_S) is None

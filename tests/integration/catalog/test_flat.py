"""What an annotator waits for costs the same with four times as many images: counted in SQLite's steps, not seconds."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import event, insert
from sqlalchemy.orm import Session

from infra.adapters.catalog import experiments, labels
from infra.adapters.catalog.session import Catalog
from infra.adapters.catalog.tables import Candidate, Experiment
from tasks.rounds.count import notify
from tasks.selection.next_image import next_image
from tasks.selection.skip import skipped
from tasks.selection.unscored import Unscored
from tests.bench.many import add_images, add_jobs, add_labels, skip_images
from tests.builders import BUNDLE, ORG, World, build, notice, second_experiment, start_loop

SMALL, LARGE = 2_500, 10_000
FLAT = 1.5
EVERY = 10


class Filled:
    """A catalog of one data set, a tenth of it labelled for one of its two experiments and all of it scored."""

    def __init__(self, catalog: Catalog, images: int) -> None:
        self.catalog, self.steps = catalog, 0
        self.world = build(catalog, images=1)
        made = add_images(catalog, self.world.dataset, images)
        add_labels(catalog, self.world.dataset, made[: images // 10])
        self.other = second_experiment(catalog, self.world, {"1": "spleen"})
        start_loop(catalog, self.world, round_size=100_000)
        add_jobs(catalog, self.world.experiment, self.world.dataset, images // 10, org=ORG, bundle_id=BUNDLE)
        skip_images(catalog, made[-images // 20 :])
        self.free = made[images // 10 : -images // 20]
        with catalog.write() as session:
            shared = {"dataset_id": self.world.dataset, "version_id": self.world.version, "method": "entropy"}
            shared["experiment_id"] = self.world.experiment
            rows = [{**shared, "image_id": image, "score": number % 9} for number, image in enumerate(self.free)]
            session.execute(insert(Candidate), rows)
        for engine in (catalog._reader, catalog._writer):
            engine.dispose()
            event.listen(engine, "connect", self._watch)

    def _watch(self, connection: sqlite3.Connection, _entry: object) -> None:
        connection.set_progress_handler(self._step, EVERY)

    def _step(self) -> int:
        self.steps += EVERY
        return 0

    @contextmanager
    def unit(self) -> Iterator[Session]:
        with self.catalog.write() as session:
            yield session


def _next(of: Callable[[Filled], World], strategy: str) -> Callable[[Filled, int], None]:
    def ask(on: Filled, _: int) -> None:
        with on.unit() as session:
            session.get_one(Experiment, of(on).experiment).strategy = strategy
            next_image(session, on.world.dataset, holder="ann", experiment_id=of(on).experiment, max_leases=3)

    return ask


def _notify(on: Filled, number: int) -> None:
    with on.unit() as session:
        notify(session, on.world.dataset, [notice(on.free[number])], "ann")


def _jobs(on: Filled, _: int) -> None:
    with on.catalog.read() as session:
        experiments.newest_jobs(session, on.world.experiment, 20)
        experiments.trainings(session, on.world.experiment, 20)


def _named(on: Filled, number: int) -> None:
    with on.catalog.read() as session:
        labels.named(session, on.world.dataset, f"new-{number}")


def _skipped(on: Filled, _: int) -> None:
    with on.catalog.read() as session:
        skipped(session, on.world.dataset, limit=20)


def _to_score(on: Filled, _: int) -> None:
    with on.catalog.read() as session:
        experiment = session.get_one(Experiment, on.world.experiment)
        Unscored(experiment, on.world.dataset, "epistemic").take(session, 20, set())


ASKED: dict[str, Callable[[Filled, int], None]] = {
    "random": _next(lambda on: on.world, "random"),
    "first": _next(lambda on: on.world, "first"),
    "last": _next(lambda on: on.world, "last"),
    "strided, without scores": _next(lambda on: on.world, "strided"),
    "entropy": _next(lambda on: on.world, "entropy"),
    "random, labelled by others": _next(lambda on: on.other, "random"),
    "first, labelled by others": _next(lambda on: on.other, "first"),
    "notify": _notify,
    "a label by its id in the store": _named,
    "skipped images": _skipped,
    "newest jobs": _jobs,
    "to score": _to_score,
}


def _steps(on: Filled) -> dict[str, int]:
    """Return the steps of each call, once what is looked at only in the beginning has been."""
    found = {}
    for number, (name, ask) in enumerate(ASKED.items()):
        for again in range(12):
            ask(on, 20 * number + again)
        before = on.steps
        for again in range(12, 17):  # five, so that one of them is for evaluation
            ask(on, 20 * number + again)
        found[name] = on.steps - before
    return found


@pytest.fixture(scope="module")
def steps(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[int]]:
    """Steps of each call with few images and with many."""
    counted = []
    for images in (SMALL, LARGE):
        catalog = Catalog(f"sqlite+pysqlite:///{tmp_path_factory.mktemp('flat')}/catalog.db")
        catalog.migrate()
        counted.append(_steps(Filled(catalog, images)))
        catalog.close()
    return {name: [each[name] for each in counted] for name in ASKED}


@pytest.mark.parametrize("call", list(ASKED))
def test_it_takes_as_many_steps_with_many_images_as_with_few(call: str, steps: dict[str, list[int]]) -> None:
    few, many = steps[call]
    assert 0 < many < FLAT * few

"""An annotator's calls and everybody's listings as far as the catalog goes, at up to a million images.

SQLite, every commit on disk. Annotators are eight threads that pause, together 100 calls a second, which is more than
a hundred people make; "without a pause" is the same threads as fast as they can.
"""

import random
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path

from configs.settings import Settings
from infra.adapters.catalog.session import Catalog
from infra.adapters.catalog.tables import Experiment
from infra.services.callers import Caller, Role
from infra.services.data import contents, dataset_summary, datasets, images, label_history
from infra.services.learning import experiments, jobs, models, scores
from infra.services.listing import Page
from infra.services.operating import installation, status
from infra.wiring import Parts
from tasks.rounds.count import notify
from tasks.selection.next_image import next_image
from tasks.selection.unspoken import ask_in
from tests.bench.frame import Bench, Row, at_least, at_most, percentile
from tests.bench.many import add_images, add_jobs, add_labels, skip_images
from tests.builders import BUNDLE, ORG, World, build, notice, second_experiment, start_loop
from tests.runs_in_memory import RunsInMemory

SIZES = (1_000, 100_000, 1_000_000)
LABELLED, SKIPPED = 10, 1  # of every hundred images
EXPERIMENTS, JOBS = 20, 10_000
ANNOTATORS, CALLS, PAUSE_S = 8, 200, 0.08
MOST_MS, MOST_LATE_MS, LEAST_PER_S, MOST_NEXT_MS, MOST_PAGE_MS, FLAT = 10, 60, 200, 20, 50, 1.5


@dataclass(frozen=True)
class _Filled:
    """A catalog and its images that are free."""

    catalog: Catalog
    world: World
    free: list[int]


def rows(bench: Bench) -> Iterator[Row]:
    """Fill three catalogs, then measure each call on each of them."""
    filled = {size: _fill(bench.folder / str(size), size) for size in SIZES}
    yield from _calls("next image with its lease", _Next(), filled, bench.repeats, MOST_NEXT_MS)
    yield from _calls("notification, counted", _Notify(), filled, bench.repeats, MOST_MS)
    yield from _listings(bench, filled[SIZES[-1]])
    for each in filled.values():
        each.catalog.close()


def _fill(folder: Path, size: int) -> _Filled:
    folder.mkdir()
    catalog = Catalog(f"sqlite+pysqlite:///{folder}/catalog.db")
    catalog.migrate()
    world = build(catalog, images=1)
    with catalog.write() as session:  # its names are known from the start: there are no labels from before to look at
        ask_in(session, world.dataset, session.get_one(Experiment, world.experiment))
    made = add_images(catalog, world.dataset, size)
    labelled, skipped = size * LABELLED // 100, size * SKIPPED // 100
    add_labels(catalog, world.dataset, made[:labelled])
    skip_images(catalog, made[-skipped:])
    start_loop(catalog, world, round_size=100_000)
    return _Filled(catalog, world, made[labelled:-skipped])


class _Next:
    """Ask for the next image."""

    def __call__(self, on: _Filled, number: int) -> None:
        with on.catalog.write() as session:
            next_image(session, on.world.dataset, holder=f"annotator-{number % ANNOTATORS}")


class _Notify:
    """Notify a label that was checked already, of one image after the other."""

    def __init__(self) -> None:
        self._numbers = count()

    def __call__(self, on: _Filled, _number: int) -> None:
        number = next(self._numbers)
        label = notice(on.free[number % len(on.free)], fingerprint=f"f{number}")
        with on.catalog.write() as session:
            notify(session, on.world.dataset, [label], "bench")


def _calls(
    name: str, call: Callable[[_Filled, int], None], filled: dict[int, _Filled], repeats: int, most_ms: float
) -> Iterator[Row]:
    paced: dict[int, list[list[float]]] = {size: [] for size in SIZES}
    busy: dict[int, list[list[float]]] = {size: [] for size in SIZES}
    speed: dict[int, list[float]] = {size: [] for size in SIZES}
    for _ in range(repeats):
        for size, on in filled.items():
            paced[size].append(_run(partial(call, on), PAUSE_S))
            start = time.perf_counter()
            busy[size].append(_run(partial(call, on), 0))
            speed[size].append(CALLS / (time.perf_counter() - start))
    for size in SIZES:
        said = f"{name}, {size:,} images"
        yield at_most(f"{said}: p50", most_ms, "ms", [percentile(each, 0.5) for each in paced[size]])
        yield at_most(f"{said}: p99", MOST_LATE_MS, "ms", [percentile(each, 0.99) for each in paced[size]])
        late = f"{percentile(busy[size][-1], 0.99):.0f} ms p99"
        yield at_least(f"{said}: a second, without a pause", LEAST_PER_S, "/s", speed[size], late)
    pairs = zip(paced[SIZES[-1]], paced[SIZES[0]], strict=True)
    ratios = [percentile(most, 0.5) / percentile(least, 0.5) for most, least in pairs]
    yield at_most(f"{name}: p50 of {SIZES[-1]:,} ÷ of {SIZES[0]:,} images", FLAT, "x", ratios)


def _run(call: Callable[[int], None], pause_s: float) -> list[float]:
    """Return the milliseconds of each of so many calls by all annotators, who pause for about so long in between."""
    order = random.Random(7)

    def timed(given: tuple[int, float]) -> float:
        number, pause = given
        time.sleep(pause)
        start = time.perf_counter()
        call(number)
        return (time.perf_counter() - start) * 1000

    given = [(number, order.expovariate(1 / pause_s) if pause_s else 0.0) for number in range(CALLS)]
    with ThreadPoolExecutor(ANNOTATORS) as pool:
        return list(pool.map(timed, given))


def _listings(bench: Bench, on: _Filled) -> Iterator[Row]:
    """Measure the first and the last page of every listing, as far as the service that a route calls."""
    worlds = [on.world, *(second_experiment(on.catalog, on.world, {"1": f"organ {n}"}) for n in range(1, EXPERIMENTS))]
    for world in worlds:
        add_jobs(on.catalog, world.experiment, world.dataset, JOBS // EXPERIMENTS, org=ORG, bundle_id=BUNDLE)
    parts = Parts(
        Settings(home=bench.folder, catalog_url=on.catalog.url.render_as_string(hide_password=False)),
        orchestrator=RunsInMemory(),
    )
    caller = Caller(org=ORG, subject="bench", name="bench", role=Role.ADMIN)
    slowest: dict[str, list[float]] = {}
    for _ in range(bench.repeats):
        for name, ask in _pages(parts, caller, on.world).items():
            start = time.perf_counter()
            ask()
            slowest.setdefault(name, []).append((time.perf_counter() - start) * 1000)
    parts.close()
    for name, values in slowest.items():
        yield at_most(f"listing: {name}", MOST_PAGE_MS, "ms", values)


def _pages(parts: Parts, caller: Caller, world: World) -> dict[str, Callable[[], object]]:
    last = Page(skip=JOBS - 100, size=100)
    wanted = label_history.Wanted
    return {
        "data sets": lambda: datasets.listed(parts, caller, Page(size=50)),
        "data sets with their images counted": lambda: dataset_summary.summaries(parts, caller),
        "experiments with their jobs": lambda: experiments.listed(parts, caller, Page(size=50)),
        "an experiment": lambda: experiments.get(parts, caller, world.experiment),
        "jobs, newest": lambda: jobs.listed(parts, caller, None, Page(size=100)),
        "jobs, last page": lambda: jobs.listed(parts, caller, None, last),
        "jobs by name": lambda: jobs.listed(parts, caller, None, Page(size=100, sort="name-ascending")),
        "jobs of a name": lambda: jobs.listed(parts, caller, None, Page(size=100, name="Training 7")),
        "jobs of an experiment": lambda: jobs.listed(parts, caller, world.experiment, Page(size=100)),
        "rounds": lambda: models.rounds(parts, caller, world.experiment),
        "model versions": lambda: models.versions(parts, caller, world.experiment),
        "labels, newest": lambda: label_history.listed(parts, caller, world.dataset, wanted(limit=100)),
        "labels of a state that all have": lambda: label_history.listed(
            parts, caller, world.dataset, wanted(limit=100, state="active")
        ),
        "labels of a state that none has": lambda: label_history.listed(
            parts, caller, world.dataset, wanted(limit=100, state="quarantined")
        ),
        "labels of an image": lambda: label_history.listed(
            parts, caller, world.dataset, wanted(limit=100, image="many-0000007")
        ),
        "labels of a tag": lambda: label_history.listed(parts, caller, world.dataset, wanted(limit=100, tag="final")),
        "labels that were deleted": lambda: label_history.listed(
            parts, caller, world.dataset, wanted(limit=100, deleted=True)
        ),
        "skipped images": lambda: images.skipped(parts, caller, world.dataset, 100),
        "scores": lambda: scores.scores(parts, caller, world.experiment, None, 100),
        "status": lambda: status.status(parts, caller),
        "how far a data set is": lambda: contents.counts(parts, caller, world.dataset),
        "metrics": lambda: installation.numbers(parts, caller),
        "logs": lambda: installation.logs(parts, caller),
    }

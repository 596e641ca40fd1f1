"""An annotator's calls as far as the catalog goes."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

from sqlalchemy import insert

from infra.adapters.catalog.session import Catalog
from infra.adapters.catalog.tables import Image
from tasks.rounds.count import notify
from tasks.selection.next_image import next_image
from tests.bench.frame import Bench, Row, percentile, reported
from tests.builders import World, build, notice, start_loop

IMAGES = 100_000
CALLS = 2_000
THREADS = 8


def rows(bench: Bench) -> Iterator[Row]:
    """Measure calls of eight threads that never pause, on SQLite with every commit on disk."""
    catalog = Catalog(f"sqlite+pysqlite:///{bench.folder}/catalog.db")
    catalog.migrate()
    world = build(catalog, images=10)
    images = _fill(catalog, world)
    start_loop(catalog, world, round_size=CALLS * 10)
    yield from _measure("next image, with its lease", lambda n: _next(catalog, world, f"annotator-{n}"))
    yield from _measure("notification, counted", lambda n: _notify(catalog, world, images[n]))
    yield from _measure("the same notification again", lambda n: _notify(catalog, world, images[n]))
    catalog.close()


def _fill(catalog: Catalog, world: World) -> list[int]:
    rows = [
        {
            "dataset_id": world.dataset,
            "key": f"many-{number:07}",
            "patient_key": f"p{number:063x}",
            "held_out": number % 5 == 0,
            "fingerprint": "1",
            "shuffle": (number * 0.618033988749895) % 1.0,
        }
        for number in range(IMAGES)
    ]
    with catalog.write() as session:
        session.execute(insert(Image), rows)
        first = session.query(Image.id).where(Image.key == "many-0000000").scalar()
    return list(range(first, first + IMAGES))


def _next(catalog: Catalog, world: World, holder: str) -> None:
    with catalog.write() as session:
        next_image(session, world.dataset, holder=holder)


def _notify(catalog: Catalog, world: World, image: int) -> None:
    with catalog.write() as session:
        notify(session, world.dataset, [notice(image)], "bench")


def _measure(name: str, call: Callable[[int], None]) -> Iterator[Row]:
    def timed(number: int) -> float:
        start = time.perf_counter()
        call(number)
        return (time.perf_counter() - start) * 1000

    begin = time.perf_counter()
    with ThreadPoolExecutor(THREADS) as pool:
        taken = list(pool.map(timed, range(CALLS)))
    seconds = time.perf_counter() - begin
    yield reported(f"{name}, p50 of {IMAGES:,} images", "ms", [percentile(taken, 0.5)])
    yield reported(f"{name}, p99", "ms", [percentile(taken, 0.99)])
    yield reported(f"{name}, a second", "/s", [CALLS / seconds])

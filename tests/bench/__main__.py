"""How long the catalog's part of an annotator's calls takes, on this machine: `python -m tests.bench`."""

import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

from rich.console import Console
from rich.table import Table
from sqlalchemy import insert

from infra.adapters.catalog.session import Catalog
from infra.adapters.catalog.tables import Image
from tasks.rounds.count import notify
from tasks.selection.next_image import next_image
from tests.builders import World, build, notice, start_loop

IMAGES = 100_000
CALLS = 2_000
THREADS = 8


def main() -> None:
    """Measure and print a table."""
    console = Console()
    with tempfile.TemporaryDirectory() as folder:
        catalog = Catalog(f"sqlite+pysqlite:///{folder}/catalog.db")
        catalog.migrate()
        world = build(catalog, images=10)
        images = _fill(catalog, world)
        start_loop(catalog, world, round_size=CALLS * 10)
        table = Table(title=f"{IMAGES:,} images, SQLite (synchronous=FULL), {THREADS} threads")
        for heading in ("call", "p50 ms", "p99 ms", "a second"):
            table.add_column(heading, justify="right" if heading != "call" else "left")
        _measure(table, "next image, with its lease", lambda n: _next(catalog, world, f"annotator-{n}"))
        _measure(table, "notification, counted", lambda n: _notify(catalog, world, images[n]))
        _measure(table, "the same notification again", lambda n: _notify(catalog, world, images[n]))
        console.print(table)
        catalog.close()
    console.print(f"{datetime.now(UTC):%Y-%m-%d}, {platform.machine()}, Python {platform.python_version()}")


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


def _measure(table: Table, name: str, call: Callable[[int], None]) -> None:
    def timed(number: int) -> float:
        start = time.perf_counter()
        call(number)
        return (time.perf_counter() - start) * 1000

    begin = time.perf_counter()
    with ThreadPoolExecutor(THREADS) as pool:
        taken = sorted(pool.map(timed, range(CALLS)))
    seconds = time.perf_counter() - begin
    table.add_row(name, f"{statistics.median(taken):.2f}", f"{taken[int(CALLS * 0.99)]:.2f}", f"{CALLS / seconds:.0f}")


if __name__ == "__main__":
    main()

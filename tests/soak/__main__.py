"""`python -m tests.soak`: faults in full counts, and what came of them as a page; `make soak [HOURS=…]`."""

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from infra.adapters.catalog.session import Catalog
from tests.bench.frame import machine
from tests.soak import house, rounds
from tests.soak.saves import LARGE, Kills, kills_at_points, kills_at_random

SCENARIOS = ("saves", "large", "points", "rounds", "house")
DEFAULT_KILLS = 100
DEFAULT_HOURS = 1.0


def main() -> int:
    """Run what was asked for, one after the other; the status is 1 if anything was lost, doubled or miscounted."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help=f"of {', '.join(SCENARIOS)}; all by default")
    parser.add_argument("--hours", type=float, default=DEFAULT_HOURS, help="how long `house` works")
    parser.add_argument("--kills", type=int, default=DEFAULT_KILLS, help="kills of each of the others, about")
    asked = parser.parse_args()
    unknown = [name for name in asked.scenarios if name not in SCENARIOS]
    if unknown:
        parser.error(f"no scenario {', '.join(unknown)}: there are {', '.join(SCENARIOS)}")
    print(machine(), flush=True)  # noqa: T201 - a command's output
    well = True
    for name in asked.scenarios or SCENARIOS:
        with tempfile.TemporaryDirectory(prefix="teachback-soak-", ignore_cleanup_errors=True) as folder:
            for line, fine in _RUN[name](Path(folder), asked.kills, asked.hours):
                well = well and fine
                print(f"- {name}: {line}", flush=True)  # noqa: T201 - a command's output
    return int(not well)


Lines = Iterator[tuple[str, bool]]


def _saves(folder: Path, kills: int, _hours: float) -> Lines:
    yield _told(kills_at_random(folder, kills=kills, images=10_000))


def _large(folder: Path, kills: int, _hours: float) -> Lines:
    yield _told(kills_at_random(folder, kills=kills, images=200, shape=LARGE, people=1))


def _points(folder: Path, kills: int, _hours: float) -> Lines:
    points = ("label-bytes-stored", "label-committed")
    yield _told(kills_at_points(folder, points=points, kills=kills, images=1000))


def _rounds(folder: Path, kills: int, _hours: float) -> Lines:
    url = f"sqlite+pysqlite:///{folder / 'catalog.db'}"
    catalog = Catalog(url)
    catalog.migrate()
    catalog.close()
    times = -(-kills // len(rounds.POINTS))
    began = time.monotonic()
    wrong = rounds.kills(folder / "ward", url, times)
    counted = f"{times * len(rounds.POINTS)} kills at {', '.join(rounds.POINTS)}"
    yield f"{counted}; wrong: {wrong or 'nothing'} ({time.monotonic() - began:.0f} s)", not wrong


def _house(folder: Path, _kills: int, hours: float) -> Lines:
    week = house.work(folder, hours * 3600)
    counts = f"{week.acknowledged} labels acknowledged, rounds {dict(week.rounds)}, {week.publications} publications"
    yield f"{week.seconds:.0f} s: {counts}; {week.found}", week.found.nothing
    yield f"faults: {', '.join(week.faults)}", True
    yield f"answers: {dict(sorted(week.statuses.items()))}", True
    yield f"wrong besides: {week.wrong or 'nothing'}", not week.wrong
    for line in week.growth:
        yield f"growth: {line}", True


def _told(kills: Kills) -> tuple[str, bool]:
    counts = f"{kills.kills} kills, {kills.acknowledged} labels acknowledged, {kills.repeated} of them sent again"
    return f"{counts}; {kills.found} ({kills.seconds:.0f} s)", kills.found.nothing


_RUN: dict[str, Callable[[Path, int, float], Lines]] = {
    "saves": _saves,
    "large": _large,
    "points": _points,
    "rounds": _rounds,
    "house": _house,
}

if __name__ == "__main__":
    raise SystemExit(main())

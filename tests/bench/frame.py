"""What a topic of `make bench` gets and gives, the machine it ran on, and the table."""

import importlib
import os
import platform
import statistics
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import psutil
from rich.markup import escape
from rich.table import Table

_THREE_DIGITS = 100
_GIB = 2**30


@dataclass(frozen=True)
class Bench:
    """What a topic measures with.

    Attributes:
        folder: Fresh and empty; removed afterwards.
        peer: Environment that has MONAI Label; None = measure without it.
        repeats: How often each measurement is made; a row has one value per repeat.
    """

    folder: Path
    peer: Path | None
    repeats: int


@dataclass(frozen=True)
class Row:
    """One measured figure.

    Attributes:
        what: What was measured.
        goal: What was wanted, in words; empty where the figure is only reported.
        unit: Of the values: `ms`, `s`, `/s`, `x` for a ratio made within one repeat.
        values: One per repeat; empty where it could not be measured, which `note` explains.
        reached: Whether the median reaches the goal; None = reported only, or not measured.
        note: What has to be known to read the figure.
    """

    what: str
    goal: str
    unit: str
    values: list[float]
    reached: bool | None
    note: str = ""

    @property
    def measured(self) -> str:
        """Median, and the range where there are several values: `41 ms (38-52)`."""
        if not self.values:
            return "-"
        middle = f"{_short(statistics.median(self.values))} {self.unit}"
        if len(self.values) == 1:
            return middle
        return f"{middle} ({_short(min(self.values))}-{_short(max(self.values))})"

    @property
    def verdict(self) -> str:
        """`yes`, `no`, or nothing where there is no goal or no value."""
        return "" if self.reached is None else "yes" if self.reached else "no"


def at_most(what: str, limit: float, unit: str, values: Sequence[float], note: str = "") -> Row:
    """Return a row whose median has to be *limit* or less."""
    return Row(what, f"≤ {limit:g} {unit}", unit, [*map(float, values)], bool(statistics.median(values) <= limit), note)


def at_least(what: str, limit: float, unit: str, values: Sequence[float], note: str = "") -> Row:
    """Return a row whose median has to be *limit* or more."""
    return Row(what, f"≥ {limit:g} {unit}", unit, [*map(float, values)], bool(statistics.median(values) >= limit), note)


def reported(what: str, unit: str, values: Sequence[float], note: str = "") -> Row:
    """Return a row without a goal."""
    return Row(what, "", unit, [*map(float, values)], None, note)


def percentile(values: Iterable[float], share: float) -> float:
    """Return the value below which *share* (0-1) of the values lie: the nearest rank."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


@dataclass(frozen=True)
class Result:
    """What one topic came to; `error` is the line that ended it early."""

    topic: str
    rows: list[Row]
    seconds: float
    error: str = ""


def rows_of(module: str, bench: Bench) -> Iterator[Row]:
    """Import a topic and run it; what it needs is imported only when it runs."""
    yield from importlib.import_module(module).rows(bench)


def machine() -> str:
    """Describe this machine in one line."""
    memory = psutil.virtual_memory().total / _GIB
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return (
        f"{datetime.now(UTC):%Y-%m-%d}, {cores} cores of {_processor()}, {memory:.0f} GiB, {_system()},"
        f" Python {platform.python_version()}, PyTorch {version('torch')}, load {os.getloadavg()[0]:.1f} before"
    )


def table(results: Sequence[Result], title: str) -> Table:
    """Return everything as one table for a terminal."""
    made = Table(title=title, title_justify="left")
    for heading in ("what", "median (range)", "goal", "reached"):
        made.add_column(heading, overflow="fold")
    for result in results:
        made.add_row(f"[bold]{result.topic}[/] [dim]({result.seconds:.0f} s)")
        for row in result.rows:
            note = f"; [dim]{escape(row.note)}[/]" if row.note else ""
            made.add_row(
                escape(row.what) + note,
                row.measured,
                row.goal,
                row.verdict,
                style="red" if row.reached is False else None,
            )
        if result.error:
            made.add_row(escape(result.error), style="red")
        made.add_section()
    return made


def markdown(results: Sequence[Result], title: str) -> str:
    """Return everything as one table for a page."""
    lines = [title + ".", "", "| what | median (range) | goal | reached |", "|---|---|---|---|"]
    for result in results:
        for row in result.rows:
            note = f"; {row.note}" if row.note else ""
            lines.append(f"| {row.what}{note} | {row.measured} | {row.goal} | {row.verdict} |")
        if result.error:
            lines.append(f"| {result.topic}: {result.error} | - | | |")
    return "\n".join(line.replace("  ", " ") for line in lines)


def plain(results: Sequence[Result], title: str) -> dict[str, object]:
    """Return everything as data for a JSON file."""
    return {"machine": title, "topics": [asdict(result) for result in results]}


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= _THREE_DIGITS else f"{value:.3g}"


def _processor() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _system() -> str:
    with suppress(OSError):
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    return platform.platform(terse=True)

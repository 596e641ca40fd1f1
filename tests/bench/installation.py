"""From `teachback up` to the first answer, and what the parts hold while nobody asks anything."""

import os
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from infra.adapters.compute.warm import wake
from infra.doors.cli.supervisor.lifelines import marked
from tests.bench.frame import Bench, Row, at_most, reported
from tests.fixtures_installation import ROOT
from tests.processes import free_port

READY_S = 15.0
ALL_MB, OURS_MB = 1600.0, 600.0
_MB = 10**6
_WAIT_S = 300.0
_QUIET_S = 3.0
_QUIET_SHARE = 0.15  # of one core, over _QUIET_S: Prefect's services and the workers' polling go on for ever
# Words of a command line → the part it belongs to; the first that fits.
_PARTS = (
    ("infra.doors.cli.supervisor", "supervisor"),
    ("infra.doors.api", "API"),
    ("tasks.compute.warm", "warm host"),
    ("infra.adapters.orchestration.warm", "warm flows"),
    ("infra.adapters.tracking", "MLflow"),
    ("server", "Prefect"),
    ("infra.adapters.orchestration.worker", "worker"),
    ("up", "front"),
)
_PAGES = frozenset({"Prefect", "MLflow"})


def rows(bench: Bench) -> Iterator[Row]:
    """Start on fresh homes; the last time wait until it is idle and add up: that takes a minute and varies by 1 %."""
    ready, held, woken = [], dict[str, float](), dict[str, float]()
    for repeat in range(bench.repeats):
        home = bench.folder / str(repeat)
        with begun(home, free_port()) as (process, began):
            wait_ready(process)
            ready.append(time.perf_counter() - began)
            if repeat == bench.repeats - 1:
                front = psutil.Process(process.pid)
                held = memory_at_rest(front, home)
                wake(home / "run" / "warm.sock")
                woken = memory_at_rest(front, home)
    parts = ", ".join(f"{part} {size:.0f}" for part, size in sorted(held.items(), key=lambda found: -found[1]))
    yield at_most("`up` to ready, on a new home", READY_S, "s", ready)
    yield at_most("idle memory of all parts (PSS)", ALL_MB, "MB", [sum(held.values())], parts)
    idle, working = (sum(size for part, size in each.items() if part not in _PAGES) for each in (held, woken))
    ours = "idle memory without the servers behind Prefect's and MLflow's pages"
    yield at_most(ours, OURS_MB, "MB", [idle], "the warm host rests until somebody works")
    yield reported("the same once somebody works", "MB", [working], f"warm host {woken.get('warm host', 0):.0f}")


@contextmanager
def begun(home: Path, port: int, *words: str) -> Iterator[tuple["subprocess.Popen[bytes]", float]]:
    """Begin `teachback up` with further *words*, and end it with the block.

    Yields:
        Its process, and when it began, on the clock of `time.perf_counter`.
    """
    home.parent.mkdir(parents=True, exist_ok=True)
    up = [str(Path(sys.executable).parent / "teachback"), "up", "--home", str(home), "--port", str(port), *words]
    began = time.perf_counter()
    with (home.parent / f"{home.name}.log").open("ab") as errors:
        process = subprocess.Popen(
            up, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, start_new_session=True
        )
    try:
        yield process, began
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(60)
        process.kill()


def wait_ready(process: "subprocess.Popen[bytes]") -> None:
    """Wait until it says that it is ready: one line; it says nothing where it could not start.

    Raises:
        RuntimeError: If it ends before.
    """
    if process.stdout is None or b"ready at" not in process.stdout.readline():
        raise RuntimeError("`teachback up` did not start; see the log beside its home")


def memory_at_rest(front: psutil.Process, home: Path) -> dict[str, float]:
    """Return each part's proportional set size in MB, once all are there and rest."""
    _settle(front)
    return _memory(_family(front, home))


def _settle(front: psutil.Process) -> None:
    """Wait until the parts that come after readiness are there, and the processors rest."""
    deadline = time.monotonic() + _WAIT_S
    while time.monotonic() < deadline:
        before = _seconds(front)
        time.sleep(_QUIET_S)
        if _seconds(front) - before < _QUIET_SHARE * _QUIET_S:
            return


def _seconds(front: psutil.Process) -> float:
    spent = 0.0
    for process in [front, *front.children(recursive=True)]:
        with suppress(psutil.Error):
            times = process.cpu_times()
            spent += times.user + times.system
    return spent


def _family(front: psutil.Process, home: Path) -> list[psutil.Process]:
    found = {process.pid: process for process in [front, *front.children(recursive=True), *marked(home)]}
    return [process for pid, process in found.items() if pid != os.getpid()]


def _memory(processes: Sequence[psutil.Process]) -> dict[str, float]:
    """Return each part's proportional set size in MB: pages that several processes share are counted once in all."""
    found: dict[str, float] = defaultdict(float)
    for process in processes:
        with suppress(psutil.Error):
            found[_part(process.cmdline())] += process.memory_full_info().pss / _MB
    return dict(found)


def _part(command: Sequence[str]) -> str:
    said = " ".join(command)
    return next(
        (part for word, part in _PARTS if f" {word}" in said or word in command), command[0] if command else "?"
    )

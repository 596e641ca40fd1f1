"""Measures what the README names: `python -m tests.bench [TOPIC …]`."""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from rich.console import Console

from tests.bench.frame import Bench, Result, Row, machine, markdown, plain, rows_of, table

TOPICS = {
    "inference": "tests.bench.inference",
    "catalog": "tests.bench.catalog",
    "labels": "tests.bench.labels",
    "scores": "tests.bench.scores",
    "rounds": "tests.bench.rounds",
    "stores": "tests.bench.stores",
    "installation": "tests.bench.installation",
    "dialect": "tests.bench.dialect",
    "registration": "tests.bench.registration",
}
ON_REQUEST = {"dialect", "registration"}
REPEATS = 3


def main() -> int:
    """Measure and print one table; a topic that fails says so in its line, and the exit status is 1."""
    asked = _asked()
    # As in bundle hosts; read when a topic first imports torch. Threads that spin make a busy machine's figures worse.
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
    title = machine()
    say = Console(stderr=True)
    results: list[Result] = []
    try:
        for topic in asked.topics or [name for name in TOPICS if name not in ON_REQUEST]:
            with say.status(f"{topic} …"):
                results.append(_run(topic, asked.peer, asked.repeats))
    except KeyboardInterrupt:
        say.print("interrupted: what was measured until then follows")
    if asked.markdown:
        Console(soft_wrap=True, markup=False, highlight=False).print(markdown(results, title))
    else:
        Console().print(table(results, title))
    if asked.json:
        asked.json.write_text(json.dumps(plain(results, title), indent=1, ensure_ascii=False))
    return int(any(result.error for result in results))


def _run(topic: str, peer: Path | None, repeats: int) -> Result:
    rows: list[Row] = []
    start = time.perf_counter()
    error = ""
    with tempfile.TemporaryDirectory(prefix="teachback-bench-", ignore_cleanup_errors=True) as folder:
        try:
            for row in rows_of(TOPICS[topic], Bench(Path(folder), peer, repeats)):
                rows.append(row)  # noqa: PERF402 - what was measured before a failure stays
        # A test's helper that waits in vain ends with pytest's own exception, which is no Exception.
        except (Exception, pytest.fail.Exception) as failure:  # noqa: BLE001 - the others are still to be measured
            error = f"{type(failure).__name__}: {' '.join(str(failure).split())[:200]}"
    return Result(topic, rows, time.perf_counter() - start, error)


def _asked(given: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument(
        "topics", nargs="*", metavar="TOPIC", help=f"of {', '.join(TOPICS)}; by default all but {', '.join(ON_REQUEST)}"
    )
    parser.add_argument("--peer", type=Path, metavar="DIR", help="environment with MONAI Label, measured alongside")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every value to this file")
    parser.add_argument("--markdown", action="store_true", help="print the table for a page")
    parser.add_argument("--repeats", type=int, default=REPEATS, metavar="N")
    asked = parser.parse_args(given)
    unknown = [topic for topic in asked.topics if topic not in TOPICS]
    if unknown:
        parser.error(f"no topic {', '.join(unknown)}: there are {', '.join(TOPICS)}")
    if asked.peer and not (asked.peer / "bin" / "python").exists():
        parser.error(f"no environment at {asked.peer}: it has no bin/python")
    return asked


if __name__ == "__main__":
    raise SystemExit(main())

"""Looks for what must not be there: in every log, and in all that Prefect and MLflow have written."""

import sqlite3
from collections.abc import Collection, Iterator
from contextlib import closing
from pathlib import Path

import pydicom

from tests.fixtures_installation import Installation

_PLANTED = (
    "PatientName",
    "PatientID",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "SOPInstanceUID",
    "FrameOfReferenceUID",
)
_SHORTEST = 4
_WORDS = frozenset({"log.txt", "events.jsonl"})


def identifiers(files: Collection[Path]) -> set[str]:
    """Return the names, ids and UIDs in these DICOM files."""
    found: set[str] = set()
    for file in files:
        instance = pydicom.dcmread(file, stop_before_pixels=True)
        found |= {str(instance.get(name, "")) for name in _PLANTED}
    return {value for value in found if len(value) >= _SHORTEST}


def leaks(installation: Installation, planted: Collection[str]) -> list[str]:
    """Return `file: value` for each planted value that stands in a log, or in Prefect's or MLflow's files."""
    wanted = [value.encode() for value in planted]
    return sorted(
        f"{path.relative_to(installation.home.parent)}: {value.decode()}"
        for path, content in _written(installation.home)
        for value in wanted
        if value in content
    )


def _written(home: Path) -> Iterator[tuple[Path, bytes]]:
    for path in [*home.parent.glob("up.*"), *(home / "logs").rglob("*")]:
        if path.is_file():
            yield path, path.read_bytes()
    for path in (home / "work").rglob("*"):
        if path.name in _WORDS:
            yield path, path.read_bytes()
    for folder in ("prefect", "mlflow"):
        for path in (home / folder).rglob("*"):
            if path.is_file() and not (path.is_relative_to(home / "prefect" / "ui")):
                yield path, _dump(path) if path.suffix == ".db" else path.read_bytes()


def _dump(path: Path) -> bytes:
    """Return a database as SQL: in its file a long value lies in pieces."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
        return "\n".join(database.iterdump()).encode()

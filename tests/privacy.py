"""Looks for what must not be there: in every log, and in all that Prefect and MLflow have written."""

import base64
import gzip
import json
import sqlite3
from collections.abc import Collection, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import numpy as np
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
_ARRAYS = frozenset(
    {".npy", ".npz", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd", ".dcm", ".h5", ".hdf5", ".pt", ".pth", ".ckpt", ".pkl"}
    | {".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".gif", ".webp", ".zarr", ".parquet"}
)
# How array and image files begin, whatever they are called; (offset, sign).
_SIGNS = (
    *(
        (0, sign)
        for sign in (b"\x93NUMPY", b"\x89PNG", b"\xff\xd8\xff", b"II*\0", b"MM\0*", b"\x89HDF", b"NRRD", b"GIF8")
    ),
    (128, b"DICM"),
    (344, b"n+1\0"),
)
_GZIP = b"\x1f\x8b"
_RUN = 12  # voxels in a row, that no other data hold by chance
_KINDS = (np.uint8, np.int16, np.uint16, np.int32, np.float32, np.float64)


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
        for path, content in (*_logs(installation.home), *_servers(installation.home))
        for value in wanted
        if value in content
    )


def pixels(home: Path, volumes: Collection[np.ndarray[Any, Any]]) -> list[str]:
    """Return `file: what` for each array or picture that Prefect or MLflow has, and each run of voxels of *volumes*.

    Args:
        home: The installation's.
        volumes: Images as they are stored.
    """
    runs = {form: axis for volume in volumes for axis, form in _runs(volume)}
    found = set()
    for path, written in _servers(home):
        content = _plain(written)
        if path.name.removesuffix(".gz").endswith(tuple(_ARRAYS)) or any(
            content[at:].startswith(sign) for at, sign in _SIGNS
        ):
            found.add(f"{path.relative_to(home)}: an array or a picture")
        found |= {f"{path.relative_to(home)}: {axis}" for form, axis in runs.items() if form in content}
    return sorted(found)


def _runs(volume: np.ndarray[Any, Any]) -> Iterator[tuple[str, bytes]]:
    """Yield the most telling run of voxels along each axis, in every way that it may be written."""
    for axis in range(volume.ndim):
        lines = np.moveaxis(volume, axis, -1).reshape(-1, volume.shape[axis])
        best = max((line[:_RUN] for line in lines), key=lambda line: len(np.unique(line)))
        if len(np.unique(best)) < _RUN // 2:
            continue  # air
        for form in _forms(best):
            yield f"voxels along axis {axis}", form


def _forms(run: np.ndarray[Any, Any]) -> Iterator[bytes]:
    for kind in _KINDS:
        with np.errstate(invalid="ignore", over="ignore"):
            values = run.astype(kind)
        raw = values.tobytes()
        yield raw
        yield from (raw.hex().encode(), raw.hex().upper().encode())
        # In base64 it may begin at each of three places; what depends on its neighbours is left off.
        yield from (base64.b64encode(b"\0" * shift + raw)[4:-4] for shift in range(3))
        told = values.tolist()
        yield from (json.dumps(told)[1:-1].encode(), json.dumps(told, separators=(",", ":"))[1:-1].encode())


def _logs(home: Path) -> Iterator[tuple[Path, bytes]]:
    for path in [*home.parent.glob("up.*"), *(home / "logs").rglob("*")]:
        if path.is_file():
            yield path, path.read_bytes()
    for path in (home / "work").rglob("*"):
        if path.name in _WORDS:
            yield path, path.read_bytes()


def _servers(home: Path) -> Iterator[tuple[Path, bytes]]:
    for folder in ("prefect", "mlflow"):
        for path in (home / folder).rglob("*"):
            if path.is_file() and not (path.is_relative_to(home / "prefect" / "ui")):
                yield path, _dump(path) if path.suffix == ".db" else path.read_bytes()


def _plain(content: bytes) -> bytes:
    """Return what was packed, or the content as it is."""
    if content.startswith(_GZIP):
        with suppress(OSError, EOFError):
            return gzip.decompress(content)
    return content


def _dump(path: Path) -> bytes:
    """Return a database as SQL: in its file a long value lies in pieces."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
        return "\n".join(database.iterdump()).encode()

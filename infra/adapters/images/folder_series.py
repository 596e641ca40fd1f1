"""The DICOM series that lie in one folder: which of its files belong to which, told by their headers.

Files are told by what they begin with, for most have no ending. Reading all of a folder's headers takes seconds, so
what they say is kept, of the files together that came within ten minutes: of a folder with very many series that gets
one more, these are the only ones that are read.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, TypeAdapter
from pydicom.dataset import Dataset

from configs.errors import InvalidRequestError
from infra.adapters.images.base import NOT_IMAGES, Keep
from infra.adapters.images.part10 import DAMAGE_IN_MEMORY, read_dicom
from infra.adapters.images.patient import dicom_patient
from infra.adapters.images.seg import hash_lines

FORMAT = "dicom-folder-2"
"""Part of the cache's key: changes when what is kept does."""
_KEPT = "series.json"
# A scanner or a copy brings a study within minutes: by then most of what comes at a time has one entry.
_TOGETHER_S = 600.0
_ENDINGS = (".dcm", ".dicom", ".ima")
_MAGIC, _MAGIC_AT = b"DICM", 128
_TOLD = ("SeriesInstanceUID", "StudyDate", "StudyTime", "Modality", "PatientID", "StudyInstanceUID")
_READ = (*_TOLD, "IssuerOfPatientID", "SeriesDescription", "Manufacturer")
UNKNOWN = "UNK"
Entry = os.DirEntry[str]


class FolderSeries(BaseModel):
    """A series in a folder."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    uid: str
    study: str
    patient: str | None
    name: str
    meta: dict[str, str]
    files: list[str]


_ALL = TypeAdapter(list[FolderSeries])


def may_be_dicom(name: str) -> bool:
    """Say whether a file of this name is worth a look: DICOM's are named so, by a number, a UID, or without ending."""
    _, dot, ending = name.rpartition(".")
    return not dot or ending.isdecimal() or name.lower().endswith(_ENDINGS)


def series_in(
    folder: Path, entries: Sequence[Entry], keep: Keep | None, *, together_s: float = _TOGETHER_S
) -> list[FolderSeries]:
    """Return the series of images that a folder's files make up, by their UIDs.

    Args:
        folder: The folder.
        entries: Those of its files that may be DICOM.
        keep: This host's cache; None = the headers are read each time.
        together_s: Files that came within these seconds are read together, and again when one of them changes.

    Raises:
        OSError: If the folder cannot be read.
    """
    if not entries:
        return []
    if keep is None:
        return _read(folder, [entry.name for entry in entries])

    # By the time of its rights' last change, which no copying program can set back: what came before is not read again,
    # and a file that could not be read may have become readable.
    came: dict[int, dict[str, os.stat_result]] = {}
    for entry in entries:
        stat = entry.stat()
        came.setdefault(int(stat.st_ctime_ns / (together_s * 1e9)), {})[entry.name] = stat
    return _joined([_kept(folder, stats, keep) for stats in came.values()])


def _kept(folder: Path, stats: Mapping[str, os.stat_result], keep: Keep) -> list[FolderSeries]:

    def fill(kept: Path) -> None:
        """Read the headers once."""
        (kept / _KEPT).write_bytes(_ALL.dump_json(_read(folder, list(stats))))

    marks = hash_lines([f"{mark_of(name, stat)} {stat.st_ctime_ns}" for name, stat in stats.items()])
    return _ALL.validate_json((keep(f"{FORMAT}\n{folder}\n{marks}", fill) / _KEPT).read_bytes())


def _joined(parts: Sequence[list[FolderSeries]]) -> list[FolderSeries]:
    """Return series of which some files came later than others, each once, as its first file has it."""
    found: dict[str, list[FolderSeries]] = {}
    for series in (series for part in parts for series in part):
        found.setdefault(series.uid, []).append(series)
    return [
        min(same, key=lambda series: series.files).model_copy(
            update={"files": sorted(name for series in same for name in series.files)}
        )
        for _, same in sorted(found.items())
    ]


def mark_of(name: str, stat: os.stat_result) -> str:
    """Return what changes when a file of a series does."""
    return f"{name} {stat.st_size}-{stat.st_mtime_ns}-{stat.st_ino}"


def _read(folder: Path, names: Sequence[str]) -> list[FolderSeries]:
    headers: dict[str, Dataset] = {}
    files: dict[str, list[str]] = {}
    for name in sorted(names):
        header = image_header(folder / name)
        if header is None:
            continue
        headers.setdefault(header.SeriesInstanceUID, header)
        files.setdefault(header.SeriesInstanceUID, []).append(name)
    return [_described(headers[uid], files[uid]) for uid in sorted(headers)]


def image_header(path: Path) -> Dataset | None:
    """Return what an image's instance says of its series; None for anything else, what cannot be read among them."""
    try:
        with path.open("rb") as file:
            if file.read(_MAGIC_AT + len(_MAGIC))[_MAGIC_AT:] != _MAGIC:
                return None
    except (PermissionError, FileNotFoundError):  # somebody else's, or gone by now: the others are there
        return None
    try:
        header = read_dicom(path, pixels=False, only=_READ)
        told = {name: str(header.get(name, "") or "") for name in _READ}  # read now, where damage shows
    except (InvalidRequestError, *DAMAGE_IN_MEMORY):
        return None
    uid = told["SeriesInstanceUID"]
    return header if uid and "/" not in uid and told["Modality"] not in NOT_IMAGES else None


def _described(header: Dataset, files: list[str]) -> FolderSeries:
    meta = {name: str(header.get(name, "") or "") or UNKNOWN for name in _TOLD}
    maker = str(header.get("Manufacturer", "") or "").strip()
    return FolderSeries(
        uid=str(header.SeriesInstanceUID),
        study=str(header.get("StudyInstanceUID", "") or ""),
        patient=dicom_patient(header),
        name=str(header.get("SeriesDescription", "") or "") or meta["Modality"],
        meta={**meta, **({"Manufacturer": maker} if maker else {})},
        files=files,
    )

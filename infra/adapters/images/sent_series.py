"""A series on its way to a DICOMweb server: what has to be true of its files before any of them is stored there."""

import re
from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple

from pydicom.datadict import keyword_for_tag, tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

from configs.errors import ConflictError, DamagedImageError, InvalidRequestError
from infra.adapters.images.dicom_fields import HEADERS
from infra.adapters.images.part10 import read_dicom, readable

_UID, _UID_LENGTH = re.compile(r"(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*))+"), 64
_HEX = re.compile(r"[0-9A-Fa-f]{8}")
_RANGES = frozenset({"DA", "TM", "DT"})
_FUZZY = "fuzzymatching"
_WORKED_OUT = re.compile(r"^NumberOf.*Related|InStudy$")
_PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
_DAMAGED = "The series cannot be read: store it again"


class SentSeries(NamedTuple):
    """A series' files by their SOPInstanceUIDs, and its study."""

    study: str
    files: dict[str, Path]


def is_uid(text: str) -> bool:
    """Say whether a text is a DICOM UID (PS3.5 9.1), and so may stand in a path."""
    return len(text) <= _UID_LENGTH and _UID.fullmatch(text) is not None


def sent_series(folder: Path, key: str, filters: Mapping[str, str]) -> SentSeries:
    """Look at the headers of what was sent.

    Args:
        folder: The files.
        key: The SeriesInstanceUID that they have to have.
        filters: QIDO's attributes and values that the data set's series match.

    Raises:
        InvalidRequestError: If they are not one series of one study with UIDs, or the filters leave it out.
    """
    studies, files = set[str](), dict[str, Path]()
    for path in sorted(folder.iterdir()):
        header = read_dicom(path, pixels=False)
        with readable(_DAMAGED):
            series, uid = str(header.get("SeriesInstanceUID", "")), str(header.get("SOPInstanceUID", ""))
            within = all(_matches(header, name, wanted, filters) for name, wanted in filters.items())
            studies.add(str(header.get("StudyInstanceUID", "")))
        if series != key or not is_uid(key):
            raise InvalidRequestError("A DICOMweb server knows an image by its SeriesInstanceUID: give no other id")
        if not is_uid(uid) or uid in files:
            raise InvalidRequestError("Each file of a series has a SOPInstanceUID of its own: these have not")
        if not within:
            raise InvalidRequestError("The data set's filters leave this series out: it is stored nowhere")
        files[uid] = path
    if len(studies) != 1 or not all(map(is_uid, studies)):
        raise InvalidRequestError("The files of a series have one StudyInstanceUID: these have not")
    return SentSeries(studies.pop(), files)


def already(sent: SentSeries, folder: Path) -> set[str]:
    """Return the SOPInstanceUIDs of what a server has of a series, as it lies in a folder.

    Raises:
        ConflictError: If one of them was sent with other pixels, or elsewhere in space.
        InvalidRequestError: If one cannot be read.
    """
    there = {str(identified(path).SOPInstanceUID): path for path in folder.iterdir()}
    for uid in there.keys() & sent.files.keys():
        if _content_of(there[uid]) != _content_of(sent.files[uid]):
            raise ConflictError("The server has an instance of this UID with other content: nothing is replaced")
    return set(there)


def identified(path: Path) -> Dataset:
    """Return which instance of which series a file is.

    Raises:
        DamagedImageError: If it cannot be read.
    """
    try:
        return read_dicom(path, pixels=False, only=["SeriesInstanceUID", "SOPInstanceUID"])
    except InvalidRequestError as error:
        raise DamagedImageError(str(error)) from None


def _content_of(path: Path) -> list[Any]:
    """Return an instance's pixels, and where they lie."""
    instance = read_dicom(path)
    with readable(_DAMAGED):
        geometry = [instance[tag].value if tag in instance else None for tag in sorted(HEADERS)]
        return [instance.file_meta.TransferSyntaxUID, *geometry, *map(instance.get, _PIXELS)]


def _matches(header: Dataset, name: str, wanted: str, filters: Mapping[str, str]) -> bool:
    """Say whether a header matches as PS3.4 C.2.2.2 has it; what servers work out they judge themselves, later."""
    tag = int(name, 16) if _HEX.fullmatch(name) else tag_for_keyword(name)
    if tag is None or _WORKED_OUT.search(keyword_for_tag(tag)):
        return True
    if tag not in header:
        return not wanted.strip("*")
    kind = header[tag].VR
    if kind == "SQ" or (kind == "PN" and _FUZZY in filters):
        return True
    value = header[tag].value
    found = [str(one).strip() for one in (value if isinstance(value, MultiValue) else [value])]
    return any(_is(one, each, kind) for one in found for each in _listed(wanted, kind))


def _listed(wanted: str, kind: str) -> list[str]:
    return re.split(r"[\\,]" if kind == "UI" else r"\\", wanted)


def _is(found: str, wanted: str, kind: str) -> bool:
    if kind in _RANGES and "-" in wanted:
        first, last = wanted.split("-", 1)
        return (not first or found[: len(first)] >= first) and (not last or found[: len(last)] <= last)
    return not wanted or fnmatchcase(found.casefold(), wanted.casefold().replace("[", "[[]"))

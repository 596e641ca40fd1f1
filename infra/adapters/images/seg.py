"""What a DICOM SEG says of itself, told by its headers."""

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from pydicom.dataset import Dataset

from configs.errors import InvalidRequestError
from infra.adapters.images.base import StoredLabel
from infra.adapters.images.part10 import read_dicom, readable

OUR_SERIES = "Teachback"
_DAMAGED = "The SEG's header cannot be read: store it again"


def read_seg(path: Path) -> Dataset:
    """Read a SEG.

    Raises:
        InvalidRequestError: If it is none.
    """
    with readable("A DICOMweb server keeps labels as DICOM SEG, and this is no DICOM file"):
        seg = read_dicom(path)
    if seg.get("Modality") != "SEG":
        raise InvalidRequestError("A DICOMweb server keeps labels as DICOM SEG, and this is another DICOM object")
    # It may hold anything, a program among it, and would be stored as it came.
    seg.preamble = b"\0" * 128
    return seg


def referenced_series(instances: Sequence[Dataset]) -> str | None:
    """Return the one series that all the SEGs refer to, or None.

    Raises:
        InvalidRequestError: If that cannot be read.
    """
    with readable(_DAMAGED):
        found = {
            str(reference.SeriesInstanceUID)
            for instance in instances
            for reference in instance.get("ReferencedSeriesSequence", None) or ()
        }
    return found.pop() if len(found) == 1 else None


def describe_seg(image: str, instances: Sequence[Dataset]) -> StoredLabel:
    """Return the label that the SEGs of one series are.

    Raises:
        InvalidRequestError: If their headers cannot be read.
    """
    with readable(_DAMAGED):
        return _described(image, instances)


def _described(image: str, instances: Sequence[Dataset]) -> StoredLabel:
    types = {
        segment.get("SegmentAlgorithmType", "")
        for instance in instances
        for segment in instance.get("SegmentSequence", None) or ()
    }
    latest = max(instances, key=newest)
    return StoredLabel(
        image=image,
        key=str(latest.SeriesInstanceUID),
        fingerprint=hash_lines(sorted(str(instance.SOPInstanceUID) for instance in instances)),
        automatic=types == {"AUTOMATIC"},
        ours=str(latest.get("Manufacturer", "")) == OUR_SERIES,
        author=str(latest.get("ContentCreatorName", "") or "").replace("^", " ").strip()[:200],
        changed=_changed(latest),
    )


def newest(instance: Dataset) -> tuple[str, str, int]:
    """Return what is greatest in the newest SEG of a series."""
    date, time = str(instance.get("ContentDate", "") or ""), str(instance.get("ContentTime", "") or "")
    return date, time, int(instance.get("InstanceNumber", 0) or 0)


def _changed(instance: Dataset) -> datetime | None:
    date, time, _ = newest(instance)
    try:
        return datetime.strptime(date + (time[:6] or "000000"), "%Y%m%d%H%M%S").replace(tzinfo=UTC)
    except ValueError:
        return None


def hash_lines(lines: Sequence[str]) -> str:
    """Return a fingerprint of the lines."""
    digest = hashlib.sha256("\n".join(lines).encode())
    return f"sha256:{digest.hexdigest()}"

"""DICOM SEG as highdicom writes it. Imported on use: its tables of concepts fill 22 MB."""

import re
from collections.abc import Sequence
from typing import Any

from highdicom import AlgorithmIdentificationSequence
from highdicom.seg import Segmentation, SegmentDescription
from highdicom.sr import CodedConcept
from numpy.typing import NDArray
from pydicom.dataset import Dataset

MANUFACTURER = "Teachback"
# Behind the scanner's own series, where viewers list a study by number.
_SERIES_NUMBER = 900
_SCHEME = "99TEACHBACK"
_ANATOMY = CodedConcept("91723000", "SCT", "Anatomical Structure")
_AI = CodedConcept("123109", "DCM", "Artificial Intelligence")
_NOT_IN_A_NAME = re.compile(r"[\^=\\\x00-\x1f]+")
_PERSON_LENGTH, _LABEL_LENGTH = 64, 64


def segmentation(
    sources: Sequence[Dataset],
    planes: NDArray[Any],
    names: Sequence[str],
    *,
    series_uid: str,
    instance_uid: str,
    author: str,
    origin: str,
    model: str,
) -> Segmentation:
    """Return a BINARY SEG of the segments 1 … n that are called *names*.

    Args:
        sources: The instances that it refers to.
        planes: Segment numbers, (frame of the sources, row, column).
        names: Of the segments, in order.
        series_uid: Of its new series.
        instance_uid: Its own.
        author: Becomes ContentCreatorName.
        origin: Becomes every segment's SegmentAlgorithmType.
        model: Name of the model version, if one took part.
    """
    return Segmentation(
        source_images=sources,
        pixel_array=planes,
        segmentation_type="BINARY",
        segment_descriptions=[_segment(n, name, origin, model) for n, name in enumerate(names, start=1)],
        series_instance_uid=series_uid,
        series_number=_SERIES_NUMBER,
        sop_instance_uid=instance_uid,
        instance_number=1,
        manufacturer=MANUFACTURER,
        manufacturer_model_name=MANUFACTURER,
        software_versions="1",
        device_serial_number="0",
        content_label="SEGMENTATION",
        content_creator_name=_person(author),
        series_description=f"{MANUFACTURER} segmentation",
        omit_empty_frames=bool(planes.any()),
    )


def _segment(number: int, name: str, origin: str, model: str) -> SegmentDescription:
    algorithm = AlgorithmIdentificationSequence(name=model or MANUFACTURER, family=_AI, version="1")
    return SegmentDescription(
        segment_number=number,
        segment_label=name[:_LABEL_LENGTH],
        segmented_property_category=_ANATOMY,
        segmented_property_type=CodedConcept(str(number), _SCHEME, name[:_LABEL_LENGTH]),
        algorithm_type=origin,
        algorithm_identification=None if origin == "MANUAL" else algorithm,
    )


def _person(author: str) -> str:
    """Return the name as DICOM's PN with one component, which the caret says is meant."""
    return f"{_NOT_IN_A_NAME.sub(' ', author).strip()[: _PERSON_LENGTH - 1] or MANUFACTURER}^"

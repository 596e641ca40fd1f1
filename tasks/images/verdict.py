"""Whether a DICOM series is a volume that can be annotated, told by its headers alone."""

from collections.abc import Sequence

from pydicom.dataset import Dataset
from pydicom.uid import UID

from configs.errors import NoVolumeError
from configs.specs.dataset import OnGap
from infra.adapters.images.part10 import DAMAGE
from tasks.images.slices import planes_of
from tasks.images.stack import Stack, stack_of

NO_IMAGE, LOCALIZER, CAPTURE, COLOUR = "no image", "localizer", "secondary capture", "colour"
_CAPTURES = UID("1.2.840.10008.5.1.4.1.1.7")
_LOCALIZERS = frozenset({"LOCALIZER", "SCOUT"})
_GREY = frozenset({"MONOCHROME1", "MONOCHROME2"})


def volume_of(headers: Sequence[Dataset], on_gap: OnGap = "refuse") -> Stack:
    """Return the series' slices in order.

    Args:
        headers: Its instances; their pixels are not needed.
        on_gap: Whether a series that is no regular grid is a volume too.

    Raises:
        NoVolumeError: If it is none. It says what it is instead.
    """
    try:
        return stack_of(planes_of(_planned(headers)), on_gap)
    except DAMAGE as error:
        why = f"its header cannot be read ({type(error).__name__}); store the series again"
        raise NoVolumeError(NO_IMAGE, why) from None


def _planned(headers: Sequence[Dataset]) -> list[Dataset]:
    """Return the instances that are planes of a volume; some scanners put the scout among the slices it planned."""
    for header in headers:
        if "Rows" not in header or "Columns" not in header:
            raise NoVolumeError(NO_IMAGE, f"its {header.get('Modality', '') or 'unnamed'} objects hold no pixels")
        if min(int(header.Rows), int(header.Columns)) < 1:
            raise ValueError("an image without pixels")
        sop_class = str(header.get("SOPClassUID", ""))
        if sop_class == _CAPTURES or sop_class.startswith(f"{_CAPTURES}."):
            raise NoVolumeError(CAPTURE, "it was captured from a screen or a document; only volumes can be annotated")
        if int(header.get("SamplesPerPixel", 1) or 1) != 1 or header.get("PhotometricInterpretation") not in _GREY:
            raise NoVolumeError(COLOUR, "it is in colour; only series with one value per pixel can be annotated")
    planned = [header for header in headers if not _LOCALIZERS & set(_image_type(header))]
    if not planned:
        raise NoVolumeError(LOCALIZER, "its ImageType says that it plans other series")
    return planned


def _image_type(header: Dataset) -> list[str]:
    value = header.get("ImageType", None) or []
    return [value.upper()] if isinstance(value, str) else [str(part).upper() for part in value]

"""The planes of a DICOM series, classic or multi-frame, with where each one lies."""

import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from io import BytesIO
from pathlib import Path

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from configs.errors import InvalidRequestError, NoVolumeError
from infra.adapters.images.base import MOST_BYTES
from infra.adapters.images.part10 import DAMAGE, read_dicom, readable

HEADERS = "headers.zip"
"""Name of the file in which instances are kept without their pixels."""
PROJECTION = "no position"
"""Kind of what has no place in the patient: radiographs, ultrasound."""


@dataclass(frozen=True)
class Slice:
    """One plane: an instance, or a frame of a multi-frame one.

    Args:
        name: Its InstanceNumber, or `frame` and number; for messages.
        position: LPS mm of its first voxel's centre.
        orientation: Unit vectors of the row and the column direction, (2, 3).
        spacing_mm: Distance between rows, and between columns.
        instance: Where its pixels are.
        frame: Which of the instance's frames, from 0; None in an instance of one plane.
        rescale: What holds the slope and the intercept that turn stored values into real ones.
        time: Which of several volumes it says it belongs to; empty if it says nothing.
    """

    name: str
    position: NDArray[np.float64]
    orientation: NDArray[np.float64]
    spacing_mm: tuple[float, float]
    instance: Dataset
    frame: int | None
    rescale: Dataset
    time: str

    @cached_property
    def normal(self) -> NDArray[np.float64]:
        """Unit vector along which slices ascend."""
        normal = np.cross(*self.orientation)
        return np.asarray(normal / np.linalg.norm(normal))

    @cached_property
    def height_mm(self) -> float:
        """Position along the normal."""
        return float(self.position @ self.normal)

    @property
    def slope(self) -> float:
        """What stored values are multiplied with."""
        return float(self.rescale.get("RescaleSlope", 1) or 1)

    @property
    def intercept(self) -> float:
        """What is added to them then."""
        return float(self.rescale.get("RescaleIntercept", 0) or 0)


def instance_files(folder: Path) -> list[Path]:
    """Return a folder's instances, in the order in which they are read."""
    return sorted(folder.glob("*.dcm"))


def read_headers(kept: Path) -> list[Dataset]:
    """Read the instances that were kept without their pixels, in a zip of our own making.

    Raises:
        InvalidRequestError: If one is no DICOM.
    """
    with readable("The headers that were kept cannot be read: fetch the image again"), zipfile.ZipFile(kept) as file:
        return [pydicom.dcmread(BytesIO(file.read(name))) for name in sorted(file.namelist())]


def read_instances(folder: Path, *, most_bytes: int = MOST_BYTES) -> list[Dataset]:
    """Read the folder's instances, in the files' order.

    Raises:
        InvalidRequestError: If there is none, or one is no DICOM.
    """
    instances = [read_dicom(path, most_bytes=most_bytes) for path in instance_files(folder)]
    if not instances:
        raise InvalidRequestError("The series is empty: store the series again")
    return instances


def planes_of(instances: Sequence[Dataset]) -> list[Slice]:
    """Return every plane of the instances, in the instances' order.

    Raises:
        NoVolumeError: If one has no position, orientation or spacing.
    """
    several = len(instances) > 1
    try:
        return [plane for instance in instances for plane in _planes(instance, several=several)]
    except DAMAGE:
        why = "an instance says no position, orientation or spacing; only volumes can be annotated"
        raise NoVolumeError(PROJECTION, why) from None


def frame_of_reference(instances: Sequence[Dataset]) -> str:
    """Return what the coordinates of all of them refer to; empty if they do not say, or say different things."""
    frames = {str(instance.get("FrameOfReferenceUID", "") or "") for instance in instances}
    return frames.pop() if len(frames) == 1 else ""


def functional_group(name: str, own: Dataset, shared: Dataset) -> Dataset:
    """Return a functional group of a frame: its own, else the one that all frames share.

    Raises:
        KeyError: If there is neither.
    """
    found: Dataset = own[name][0] if name in own else shared[name][0]
    return found


def _planes(instance: Dataset, *, several: bool) -> Iterator[Slice]:
    number = str(instance.get("InstanceNumber", "") or "?")
    if "PerFrameFunctionalGroupsSequence" not in instance:
        time = str(instance.get("TemporalPositionIdentifier", "") or "")
        yield _plane(number, None, time, instance, lambda _: instance, instance)
        return
    shared = instance.SharedFunctionalGroupsSequence[0] if instance.get("SharedFunctionalGroupsSequence") else Dataset()
    for index, own in enumerate(instance.PerFrameFunctionalGroupsSequence):
        group = partial(functional_group, own=own, shared=shared)
        content = own.FrameContentSequence[0] if own.get("FrameContentSequence") else Dataset()
        has_rescale = "PixelValueTransformationSequence" in own or "PixelValueTransformationSequence" in shared
        yield _plane(
            f"{number} frame {index + 1}" if several else f"frame {index + 1}",
            index,
            str(content.get("TemporalPositionIndex", "") or ""),
            instance,
            group,
            group("PixelValueTransformationSequence") if has_rescale else Dataset(),
        )


def _plane(
    name: str, frame: int | None, time: str, instance: Dataset, group: Callable[[str], Dataset], rescale: Dataset
) -> Slice:
    where = [float(value) for value in group("PlanePositionSequence").ImagePositionPatient]
    orientation = group("PlaneOrientationSequence").ImageOrientationPatient
    turned = np.array([float(value) for value in orientation]).reshape(2, 3)
    between_rows, between_columns = (float(value) for value in group("PixelMeasuresSequence").PixelSpacing)
    finite = bool(np.isfinite([*where, between_rows, between_columns]).all() and np.isfinite(turned).all())
    if not finite or min(between_rows, between_columns) <= 0 or not np.linalg.norm(np.cross(*turned)):
        raise ValueError("a plane has no extent, or lies nowhere")
    return Slice(
        name=name,
        position=np.array(where).reshape(3),
        orientation=turned,
        spacing_mm=(between_rows, between_columns),
        instance=instance,
        frame=frame,
        rescale=rescale,
        time=time,
    )

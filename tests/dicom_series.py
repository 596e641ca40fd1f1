"""DICOM series made of numbers, with real geometry."""

import zipfile
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import (
    CTImageStorage,
    EnhancedCTImageStorage,
    ExplicitVRLittleEndian,
    RTStructureSetStorage,
    generate_uid,
)

SHAPE = (7, 6, 5)
"""Columns, rows, slices: all different, so that swapped axes cannot hide."""


def oblique_affine(spacing_mm: Sequence[float] = (0.75, 1.25, 2.5)) -> NDArray[np.float64]:
    """Return an affine (i, j, k) → LPS mm whose axes lie along none of the patient's, slices along row x column."""
    row = np.array([0.8, 0.6, 0.0])
    column = np.cross([0.36, -0.48, 0.8], row)
    affine = np.eye(4)
    affine[:3, :3] = np.stack([row, column, np.cross(row, column)], axis=1) * np.array(spacing_mm)
    affine[:3, 3] = (-12.5, 31.0, 7.25)
    return affine


def asymmetric(shape: Sequence[int] = SHAPE, *, low: int = -1000) -> NDArray[np.int16]:
    """Return a volume (i, j, k) in which every voxel has a value of its own."""
    return (np.arange(np.prod(shape), dtype=np.int16) + low).reshape(shape)


def make_series(
    array: NDArray[Any],
    affine: NDArray[np.float64],
    *,
    patient: str = "P001",
    intercept: int = -1024,
    series_uid: str | None = None,
) -> list[FileDataset]:
    """Return the instances of a CT series in DESCENDING order of slices, numbered in that order."""
    common: dict[str, Any] = {
        "SOPClassUID": CTImageStorage,
        "PatientID": patient,
        "PatientName": f"Test^{patient}",
        "PatientBirthDate": "19700101",
        "PatientSex": "O",
        "StudyInstanceUID": generate_uid(),
        "SeriesInstanceUID": series_uid or generate_uid(),
        "FrameOfReferenceUID": generate_uid(),
        "StudyDate": "20260101",
        "StudyTime": "120000",
        "StudyID": "1",
        "AccessionNumber": "A1",
        "ReferringPhysicianName": "",
        "PositionReferenceIndicator": "",
        "Manufacturer": "test",
        "Modality": "CT",
        "SeriesDescription": "asymmetric",
        "SeriesNumber": 1,
        "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"],
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "BitsAllocated": 16,
        "BitsStored": 16,
        "HighBit": 15,
        "PixelRepresentation": 1,
        "RescaleIntercept": intercept,
        "RescaleSlope": 1,
        "KVP": "120",
    }
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    directions = (affine[:3, :2] / spacing[:2]).T.ravel()
    instances = []
    for number, k in enumerate(reversed(range(array.shape[2])), start=1):
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = CTImageStorage, generate_uid()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        instance = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
        for name, value in common.items():
            setattr(instance, name, value)
        instance.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
        instance.InstanceNumber = number
        instance.ImagePositionPatient = [round(float(value), 6) for value in (affine @ [0, 0, k, 1])[:3]]
        instance.ImageOrientationPatient = [round(float(value), 6) for value in directions]
        instance.PixelSpacing = [float(spacing[1]), float(spacing[0])]
        instance.SliceThickness = float(spacing[2])
        instance.Columns, instance.Rows = array.shape[:2]
        instance.PixelData = np.ascontiguousarray((array[:, :, k].T - intercept).astype("<i2")).tobytes()
        instances.append(instance)
    return instances


def save_series(instances: Sequence[FileDataset], folder: Path) -> Path:
    """Write the instances as `folder/*.dcm`, their names in the order given."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, instance in enumerate(instances):
        instance.save_as(folder / f"{number:04d}.dcm", enforce_file_format=True)
    return folder


def as_multi_frame(
    instances: Sequence[FileDataset], *, stacks: Sequence[str] = (), times: Sequence[int] = ()
) -> FileDataset:
    """Return an enhanced CT image whose frames are the instances in the order given; of stacks and times, if told."""
    first = instances[0]
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = EnhancedCTImageStorage, generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    enhanced = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    for element in first:
        if element.keyword not in _PER_FRAME:
            enhanced.add(element)
    enhanced.SOPClassUID, enhanced.SOPInstanceUID = EnhancedCTImageStorage, meta.MediaStorageSOPInstanceUID
    enhanced.InstanceNumber, enhanced.NumberOfFrames = 1, len(instances)
    enhanced.ContentDate, enhanced.ContentTime = "20260101", "120000"
    shared, measures, orientation = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness = first.PixelSpacing, first.SliceThickness
    orientation.ImageOrientationPatient = first.ImageOrientationPatient
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = [measures], [orientation]
    enhanced.SharedFunctionalGroupsSequence = [shared]
    frames = []
    for index, instance in enumerate(instances):
        frame, position, values, content = Dataset(), Dataset(), Dataset(), Dataset()
        position.ImagePositionPatient = instance.ImagePositionPatient
        values.RescaleSlope, values.RescaleIntercept = instance.RescaleSlope, instance.RescaleIntercept
        values.RescaleType = "HU"
        content.FrameAcquisitionNumber = 1
        if stacks:
            content.StackID, content.InStackPositionNumber = stacks[index], stacks[: index + 1].count(stacks[index])
        if times:
            content.TemporalPositionIndex = times[index]
        frame.PlanePositionSequence, frame.PixelValueTransformationSequence = [position], [values]
        frame.FrameContentSequence = [content]
        frames.append(frame)
    enhanced.PerFrameFunctionalGroupsSequence = frames
    enhanced.PixelData = b"".join(instance.PixelData for instance in instances)
    return enhanced


_PER_FRAME = frozenset(
    {
        "ImagePositionPatient",
        "ImageOrientationPatient",
        "PixelSpacing",
        "SliceThickness",
        "RescaleSlope",
        "RescaleIntercept",
        "PixelData",
        "KVP",
    }
)


def make_rtstruct(of: Dataset, contours: dict[str, list[NDArray[np.float64]]]) -> Dataset:
    """Return an RTSTRUCT of a series; each contour is (point, LPS mm)."""
    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.SOPClassUID = made.file_meta.MediaStorageSOPClassUID = RTStructureSetStorage
    made.SOPInstanceUID = made.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    made.SeriesInstanceUID, made.StudyInstanceUID = generate_uid(), of.StudyInstanceUID
    made.Modality, made.PatientID = "RTSTRUCT", of.PatientID
    series, study, frame = Dataset(), Dataset(), Dataset()
    series.SeriesInstanceUID = of.SeriesInstanceUID
    study.RTReferencedSeriesSequence = [series]
    frame.FrameOfReferenceUID, frame.RTReferencedStudySequence = of.FrameOfReferenceUID, [study]
    made.ReferencedFrameOfReferenceSequence = [frame]
    made.StructureSetROISequence, made.ROIContourSequence = [], []
    for number, (name, points) in enumerate(contours.items(), start=7):
        roi, structure = Dataset(), Dataset()
        roi.ROINumber, roi.ROIName, roi.ReferencedFrameOfReferenceUID = number, name, of.FrameOfReferenceUID
        structure.ReferencedROINumber, structure.ContourSequence = number, []
        for drawn in points:
            contour = Dataset()
            contour.ContourGeometricType, contour.NumberOfContourPoints = "CLOSED_PLANAR", len(drawn)
            contour.ContourData = [f"{value:.6f}" for value in np.asarray(drawn).ravel()]
            structure.ContourSequence.append(contour)
        made.StructureSetROISequence.append(roi)
        made.ROIContourSequence.append(structure)
    return made


def zipped(folder: Path) -> bytes:
    """Return a folder's files as a zip, in a folder of their own as people pack them."""
    with BytesIO() as buffer:
        with zipfile.ZipFile(buffer, "w") as archive:
            for file in sorted(folder.iterdir()):
                archive.write(file, f"series/{file.name}")
        return buffer.getvalue()

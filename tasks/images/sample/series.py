"""An MR series in DICOM from an array, slice by slice, with the geometry viewers and servers need."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, MRImageStorage, generate_uid


def write_series(
    folder: Path,
    voxels: npt.NDArray[np.int16],
    affine: npt.NDArray[np.float64],
    *,
    patient: str,
    description: str,
    identity: tuple[str, ...],
) -> str:
    """Write one file per slice under `folder`.

    Args:
        folder: Made if missing; files are named by slice, `0001.dcm` the first.
        voxels: Shape (I, J, K) = (columns, rows, slices), slices ascending along the
            cross product of row and column direction.
        affine: Voxel indices to millimetres in LPS, 4 by 4, without shear.
        patient: PatientID; the name is made from it.
        description: Series description.
        identity: Strings that alone decide the UIDs, so that the same case is the same series.

    Returns:
        The SeriesInstanceUID.
    """
    folder.mkdir(parents=True, exist_ok=True)
    common = _series_attributes(voxels, affine, patient, description, identity)
    for k in range(voxels.shape[2]):
        position = affine[:3, 3] + k * affine[:3, 2]
        instance_uid = generate_uid(entropy_srcs=["instance", str(k), *identity])
        _slice(common, voxels[:, :, k], position, k + 1, instance_uid).save_as(
            folder / f"{k + 1:04d}.dcm", enforce_file_format=True
        )
    return str(common.SeriesInstanceUID)


def _series_attributes(
    voxels: npt.NDArray[np.int16],
    affine: npt.NDArray[np.float64],
    patient: str,
    description: str,
    identity: tuple[str, ...],
) -> Dataset:
    """What every slice of the series says alike."""
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    shared = Dataset()
    shared.PatientID, shared.PatientName = patient, f"Sample^{patient}"
    shared.PatientBirthDate, shared.PatientSex, shared.PatientIdentityRemoved = "", "", "YES"
    shared.DeidentificationMethod = "Random warp of a published template; not a patient"
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"):
        setattr(shared, keyword, generate_uid(entropy_srcs=[keyword, *identity]))
    shared.StudyDate, shared.StudyTime, shared.StudyID = "20200101", "120000", "1"
    shared.AccessionNumber, shared.ReferringPhysicianName, shared.PositionReferenceIndicator = "", "", ""
    shared.SeriesNumber, shared.SeriesDescription, shared.Modality = 1, description, "MR"
    shared.Manufacturer, shared.BodyPartExamined, shared.PatientPosition = "", "BRAIN", "HFS"
    shared.ImageType = ["DERIVED", "SECONDARY", "OTHER"]
    # RM is research mode; what only a scanner could know stays empty rather than invented.
    shared.ScanningSequence, shared.SequenceVariant, shared.ScanOptions = "RM", "NONE", ""
    shared.MRAcquisitionType, shared.EchoTime, shared.EchoTrainLength = "3D", None, None
    shared.ImageOrientationPatient = [*_decimals(affine[:3, 0] / spacing[0]), *_decimals(affine[:3, 1] / spacing[1])]
    shared.PixelSpacing = _decimals(spacing[[1, 0]])
    shared.SliceThickness, shared.SpacingBetweenSlices = _decimals(spacing[[2, 2]])
    shared.Columns, shared.Rows = voxels.shape[:2]
    shared.SamplesPerPixel, shared.PhotometricInterpretation = 1, "MONOCHROME2"
    shared.BitsAllocated, shared.BitsStored, shared.HighBit, shared.PixelRepresentation = 16, 16, 15, 1
    low, high = np.percentile(voxels, (1, 99.5))
    shared.WindowCenter, shared.WindowWidth = _decimals(np.array([(low + high) / 2, high - low]))
    return shared


def _slice(
    shared: Dataset, pixels: npt.NDArray[np.int16], position_lps_mm: npt.NDArray[np.float64], number: int, uid: UID
) -> FileDataset:
    """One slice, its preamble included: servers store what they get, and readers refuse a file without one."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = MRImageStorage, uid
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image = FileDataset("", shared, file_meta=meta, preamble=b"\0" * 128)
    image.SOPClassUID, image.SOPInstanceUID, image.InstanceNumber = MRImageStorage, uid, number
    image.ImagePositionPatient = _decimals(position_lps_mm)
    image.PixelData = np.ascontiguousarray(pixels.T, dtype="<i2").tobytes()
    return image


def _decimals(values: npt.NDArray[np.float64]) -> list[str]:
    """Numbers as DICOM decimal strings, which hold at most 16 characters."""
    return [f"{value:.6f}" for value in values]

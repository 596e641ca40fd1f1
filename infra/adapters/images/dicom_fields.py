"""What is asked of a DICOMweb server about a series."""

HEADERS = frozenset(
    {
        "00080008",  # ImageType
        "00080016",  # SOPClassUID
        "00080060",  # Modality
        "00180050",  # SliceThickness
        "00200013",  # InstanceNumber
        "00200032",  # ImagePositionPatient
        "00200037",  # ImageOrientationPatient
        "00200100",  # TemporalPositionIdentifier
        "00280002",  # SamplesPerPixel
        "00280004",  # PhotometricInterpretation
        "00280008",  # NumberOfFrames
        "00280010",  # Rows
        "00280011",  # Columns
        "00280030",  # PixelSpacing
        "52009229",  # SharedFunctionalGroupsSequence
        "52009230",  # PerFrameFunctionalGroupsSequence
    }
)
"""Of an instance's metadata: what says of which kind it is, and where it lies."""
FIELDS = (
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "Modality",
    "Manufacturer",
    "PatientID",
    "IssuerOfPatientID",
    "StudyDate",
    "StudyTime",
    "SeriesDescription",
    "NumberOfSeriesRelatedInstances",
)
"""Of a listed series."""

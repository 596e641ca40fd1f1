"""Sample cases on disk: a folder of images, and apart from it the labels that an annotator would draw."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypeAlias

import nibabel as nib
import numpy as np
import numpy.typing as npt

from configs.errors import ConflictError
from tasks.images.sample.series import write_series
from tasks.images.sample.templates import Source, Template, load_template
from tasks.images.sample.warp import Look, warp_case

Form: TypeAlias = Literal["nifti", "dicom"]
Contrast: TypeAlias = Literal["t1", "inverted"]

_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
_FULL_SCALE = 1000  # stored value of the brightest tissue of the template


@dataclass(frozen=True)
class SampleCase:
    """One made-up patient with one scan.

    Attributes:
        patient: Name of the patient's folder, and the PatientID of a DICOM series.
        image: The `.nii.gz`, or the folder of the series.
        truth: The label map of the same grid, or None where none was asked for.
        series_uid: SeriesInstanceUID of a DICOM series, else None.
    """

    patient: str
    image: Path
    truth: Path | None
    series_uid: str | None = None


@dataclass(frozen=True)
class SampleSet:
    """What was written: the label names by value, and the cases in order."""

    labels: dict[int, str]
    cases: tuple[SampleCase, ...]


def write_cases(  # noqa: PLR0913  # each is a choice of its own, and all but four have a default
    images: Path,
    truth: Path | None,
    *,
    count: int,
    seed: int,
    source: Source = "mni152",
    spacing_mm: float = 3.0,
    form: Form = "nifti",
    contrast: Contrast = "t1",
    first: int = 1,
) -> SampleSet:
    """Write `count` cases, one patient each; the same seed and number give the same case.

    Images are `<images>/sample-001/t1.nii.gz`, or the slices of `<images>/sample-001/t1/`. Labels are
    `<truth>/sample-001/t1.nii.gz` in either form, aligned with the image by their affine.

    Args:
        images: Folder of the images; made if missing.
        truth: Folder of the labels, outside `images` so that no store finds them; None writes no labels.
        count: Number of cases.
        seed: Decides every case together with its number.
        source: Which template is warped.
        spacing_mm: Edge of a voxel, 1 to 6 mm; 3 mm gives 60 by 72 by 60 voxels.
        form: NIfTI files or DICOM series.
        contrast: As the template, or with bright and dark tissue exchanged: a domain no model of the first has seen.
        first: Number of the first case, to add to a set.

    Raises:
        ConflictError: If a case of these numbers exists, or `truth` lies inside `images`; nothing is written then.
        InvalidRequestError: If the template can't be had, see `load_template`.
    """
    if truth is not None and truth.resolve().is_relative_to(images.resolve()):
        raise ConflictError(f"Labels were asked for inside the image folder ({truth}); choose a folder beside it.")
    template = load_template(source, spacing_mm)
    patients = {number: f"sample-{number:03d}" for number in range(first, first + count)}
    _refuse_existing([images / patient for patient in patients.values()])
    cases = []
    for number, patient in patients.items():
        case_seed = (seed, number)
        identity = (source, contrast, f"{spacing_mm:g}", *(str(part) for part in case_seed))
        look = replace(Look(), inverted=contrast == "inverted")
        image, labels = warp_case(template.image, template.labels, seed=case_seed, spacing_mm=spacing_mm, look=look)
        path, series_uid = _write_image(images / patient, image, template, form, identity)
        cases.append(SampleCase(patient, path, _write_truth(truth, patient, labels, template.affine), series_uid))
    return SampleSet(dict(template.names), tuple(cases))


def _refuse_existing(folders: list[Path]) -> None:
    for folder in folders:
        if folder.exists():
            raise ConflictError(
                f"Sample cases were asked for, but {folder} exists. Remove it, or choose another folder or number."
            )


def _write_image(
    folder: Path, image: npt.NDArray[np.float32], template: Template, form: Form, identity: tuple[str, ...]
) -> tuple[Path, str | None]:
    # Whole numbers, as scanners store them: DICOM takes no floats, and both forms then hold the same image.
    stored = np.clip(np.round(image * _FULL_SCALE), 0, np.iinfo(np.int16).max).astype(np.int16)
    if form == "dicom":
        path = folder / "t1"
        uid = write_series(
            path, stored, template.affine, patient=folder.name, description="t1 sample", identity=identity
        )
        return path, uid
    return _write_nifti(folder / "t1.nii.gz", stored, template.affine), None


def _write_truth(
    truth: Path | None, patient: str, labels: npt.NDArray[np.uint8], affine: npt.NDArray[np.float64]
) -> Path | None:
    return None if truth is None else _write_nifti(truth / patient / "t1.nii.gz", labels, affine)


def _write_nifti(
    path: Path, voxels: npt.NDArray[np.int16] | npt.NDArray[np.uint8], affine_lps: npt.NDArray[np.float64]
) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    volume = nib.Nifti1Image(voxels, _LPS_TO_RAS @ affine_lps)
    volume.header.set_xyzt_units("mm")
    volume.set_sform(volume.affine, code="scanner")
    volume.set_qform(volume.affine, code="scanner")
    nib.save(volume, path)
    return path

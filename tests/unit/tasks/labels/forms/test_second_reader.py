"""The SEGs that we write say the same to other programs: dcmqi finds each voxel, dicom3tools no error."""

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
from numpy.typing import NDArray
from pydicom.dataset import FileDataset

from tasks.images.dicom import volume_from
from tasks.images.geometry import Geometry
from tasks.images.volume import Volume
from tasks.labels.forms.read import read_label
from tasks.labels.forms.write import write_seg
from tests.dicom_series import SHAPE, as_multi_frame, asymmetric, make_series, oblique_affine, save_series
from tests.processes import skip_or_fail

NAMES = {1: "liver", 2: "spleen"}


@pytest.fixture
def marks() -> NDArray[np.uint8]:
    """A label map with two values, empty slices, and no symmetry."""
    array = np.zeros(SHAPE, np.uint8)
    array[1:3, 0, 0], array[4:, 3:5, 1], array[0, 5, 4] = 1, 2, 1
    return array


def _classic() -> list[FileDataset]:
    return make_series(asymmetric(), oblique_affine())


def _multi_frame() -> list[FileDataset]:
    series = make_series(asymmetric(), oblique_affine())
    shuffled = [series[index] for index in (3, 0, 4, 1, 2)]
    return [as_multi_frame(shuffled, stacks=["upper", "lower", "upper", "lower", "lower"])]


def _tool(name: str, package: str) -> str:
    found = shutil.which(name) or shutil.which(name, path=str(Path(sys.executable).parent))
    if found is None:
        skip_or_fail(f"{name} is not installed here: {package}.")
    return str(found)


def _by_dcmqi(seg: Path, folder: Path) -> dict[int, SimpleITK.Image]:
    """Return the segments as dcmqi reads them."""
    folder.mkdir()
    command = [_tool("segimage2itkimage", "pip install dcmqi"), "-t", "nrrd", "--prefix", "s"]
    subprocess.run([*command, "--inputDICOM", str(seg), "--outputDirectory", str(folder)], check=True, timeout=60)
    return {int(path.stem.removeprefix("s-")): SimpleITK.ReadImage(path) for path in folder.glob("*.nrrd")}


def _on(affine: NDArray[np.float64], images: dict[int, SimpleITK.Image]) -> NDArray[np.uint8]:
    """Put the marks of each image at their places on our grid."""
    result, to_index = np.zeros(SHAPE, np.uint8), np.linalg.inv(affine)
    for number, image in images.items():
        for k, j, i in np.argwhere(SimpleITK.GetArrayFromImage(image)):
            place = image.TransformIndexToPhysicalPoint((int(i), int(j), int(k)))
            index = (to_index @ [*place, 1])[:3]
            assert np.abs(index - np.rint(index)).max() < 0.01
            assert result[tuple(np.rint(index).astype(int))] == 0
            result[tuple(np.rint(index).astype(int))] = number
    return result


@pytest.mark.parametrize("series", [_classic(), _multi_frame()], ids=["classic", "multi-frame"])
def test_dcmqi_finds_every_voxel_and_dicom3tools_no_error(
    series: Sequence[FileDataset], marks: NDArray[np.uint8], tmp_path: Path
) -> None:
    _, affine = volume_from(series)
    seg = tmp_path / "seg.dcm"
    write_seg(Volume(marks, affine), NAMES, list(series), seg, label_id="x", author="Eve", origin="SEMIAUTOMATIC")

    np.testing.assert_array_equal(_on(affine, _by_dcmqi(seg, tmp_path / "dcmqi")), marks)
    np.testing.assert_array_equal(read_label(seg, Geometry(SHAPE, affine)).array, marks)

    files = [str(path) for path in sorted(save_series(series, tmp_path / "series").iterdir())]
    for command in (["dciodvfy", "-new", str(seg)], ["dcentvfy", str(seg), *files]):
        tool = _tool(command[0], "apt-get install dicom3tools")
        said = subprocess.run([tool, *command[1:]], capture_output=True, text=True, check=False, timeout=60)
        assert [line for line in (said.stdout + said.stderr).splitlines() if line.startswith("Error")] == []


def test_a_label_of_unevenly_spaced_slices_comes_back_to_its_slices(marks: NDArray[np.uint8], tmp_path: Path) -> None:
    series = make_series(asymmetric(), oblique_affine((0.75, 1.25, 0.4)))
    normal = np.cross(*np.array(series[0].ImageOrientationPatient, dtype=float).reshape(2, 3))
    moved = np.array(series[3].ImagePositionPatient, dtype=float) + 0.09 * normal
    series[3].ImagePositionPatient = [round(float(value), 6) for value in moved]
    _, affine = volume_from(series)

    write_seg(Volume(marks, affine), NAMES, list(series), tmp_path / "a.dcm", label_id="x", author="E", origin="MANUAL")

    np.testing.assert_array_equal(read_label(tmp_path / "a.dcm", Geometry(SHAPE, affine)).array, marks)

"""Small made-up heads: a shell and a core that differ in brightness, on an asymmetric, flipped grid."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from configs.wire.host import Case
from infra.adapters.compute.process import ProcessHosts

SAMPLE = Path(__file__).parents[3] / "bundles" / "sample"
LABELS = {1: "shell", 2: "core"}
SHAPE = (40, 34, 28)
AFFINE = np.array([[0, 3, 0, -50], [-3, 0, 0, 60], [0, 0, -3, 40], [0, 0, 0, 1.0]])


@pytest.fixture(scope="module")
def hosts(warm_host: Path | None) -> ProcessHosts:
    """The strongest cage of this machine, without the wait for imports."""
    return ProcessHosts(warm=warm_host)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for everything of one module's tests."""
    return tmp_path_factory.mktemp("compute")


@pytest.fixture(scope="module")
def cases(folder: Path) -> list[Case]:
    """Four cases to train on, one to validate, two to evaluate."""
    sides = ["train"] * 4 + ["validate"] + ["evaluate"] * 2
    return [_case(folder, number).model_copy(update={"side": side}) for number, side in enumerate(sides)]


def _case(folder: Path, number: int) -> Case:
    random = np.random.default_rng(number)
    index = np.stack(np.meshgrid(*map(np.arange, SHAPE), indexing="ij"), -1)
    centre = np.array(SHAPE) / 2 + random.uniform(-3, 3, 3)
    distance = np.linalg.norm((index - centre) / np.array([14, 12, 10]), axis=-1)
    label = (distance < 1).astype(np.uint8) + (distance < 0.5)
    image = np.array([0.1, 0.5, 1.0])[label] + random.normal(0, 0.05, SHAPE)
    for name, values in (("image", image.astype(np.float32)), ("label", label.astype(np.uint8))):
        nib.save(nib.Nifti1Image(values, AFFINE), folder / f"{name}{number}.nii.gz")
    return Case(
        id=f"case-{number}", image=[str(folder / f"image{number}.nii.gz")], label=str(folder / f"label{number}.nii.gz")
    )

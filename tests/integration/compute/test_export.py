"""A version leaves as a bundle: MONAI's own command line runs it, and predicts what we predict."""

import io
import json
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from configs.settings import Settings
from infra.adapters.catalog.tables import Bundle as Registered
from infra.adapters.catalog.tables import ModelVersion
from infra.wiring import Parts
from tasks.compute.inference.arrangement import Arrangement
from tasks.compute.inference.predictor import Predictor
from tasks.compute.loader.config import Bundle
from tasks.compute.loader.network import build_network
from tasks.results.archive import tar_gz
from tasks.results.bundle import CannotExportError, monai_bundle
from tests.bundles import narrow
from tests.integration.compute.conftest import SAMPLE
from tests.shapes.configured import odd_ids
from tests.shapes.shape import plain

LABELS = {1: "left kidney", 4: "right kidney"}
ROOT = "sample_v1.0"
# On the grids of the bundle's 3 mm nothing is interpolated: both ways have to agree in every voxel.
AFFINES = {
    "straight": np.diag([3.0, 3, 3, 1]),
    "turned": np.array([[0, 3, 0, 9], [-3, 0, 0, 5], [0, 0, -3, 1], [0, 0, 0, 1.0]]),
}


@pytest.fixture
def parts(tmp_path: Path, sqlite_url: str) -> Parts:
    return Parts(Settings(home=tmp_path / "home", catalog_url=sqlite_url))


def _weights(folder: Path, labels: dict[int, str], file: Path) -> Path:
    """Weights of a network for these labels, unlike those that it begins with."""
    bundle = Bundle(folder)
    network, _ = build_network(bundle, bundle.inference(), labels=labels, weights=None)
    torch.manual_seed(7)
    state = {
        name: value + 0.05 * torch.randn_like(value) if name.endswith("weight") else value
        for name, value in network.state_dict().items()
    }
    save_file({name: value.cpu().contiguous() for name, value in state.items()}, file)
    return file


def _exported(parts: Parts, folder: Path, weights: Path, labels: dict[int, str]) -> dict[str, bytes]:
    """The files of the archive."""
    registered = Registered(id="b" * 64, name="sample", version="1.0")
    shutil.copytree(folder, parts.settings.home / "bundles" / registered.id)
    version = ModelVersion(number=3, weights=parts.blobs.put_file(weights))
    packed = b"".join(tar_gz(monai_bundle(parts, registered, version, labels), 0))
    with tarfile.open(fileobj=io.BytesIO(packed), mode="r:gz") as archive:
        opened = {member.name: archive.extractfile(member) for member in archive.getmembers()}
        return {name: file.read() for name, file in opened.items() if file is not None}


def _images(folder: Path) -> list[Path]:
    random = np.random.default_rng(0)
    folder.mkdir()
    for name, affine in AFFINES.items():
        nib.save(
            nib.Nifti1Image(random.normal(size=(24, 30, 26)).astype(np.float32), affine), folder / f"{name}.nii.gz"
        )
    return sorted(folder.iterdir())


@pytest.mark.slow
def test_monai_runs_what_is_exported_and_predicts_the_same(parts: Parts, tmp_path: Path) -> None:
    weights, images = _weights(SAMPLE, LABELS, tmp_path / "w.safetensors"), _images(tmp_path / "images")

    files = _exported(parts, SAMPLE, weights, LABELS)

    assert {f"{ROOT}/{name}" for name in ("configs/train.json", "docs/README.md", "LICENSE")} <= files.keys()
    assert not [name for name, content in files.items() if str(tmp_path).encode() in content]
    _run_by_monai(files, tmp_path)
    for image in images:
        ours = _predicted(SAMPLE, LABELS, weights, image)
        assert len(np.unique(ours)) == len(LABELS) + 1
        np.testing.assert_array_equal(ours, np.array([0, *LABELS], dtype=np.uint8)[_theirs(image, tmp_path)])


@pytest.mark.slow
def test_monai_asks_an_exported_network_for_the_labels_of_its_experiment(parts: Parts, tmp_path: Path) -> None:
    vista = narrow(tmp_path / "vista3d", spacing_mm=3.0)
    labels = {1: "liver", 2: "lung", 3: "of our own"}  # the second is a union of classes, the third none of them
    weights, images = _weights(vista, labels, tmp_path / "w.safetensors"), _images(tmp_path / "images")

    _run_by_monai(_exported(parts, vista, weights, labels), tmp_path)

    for image in images:
        ours, theirs = _predicted(vista, labels, weights, image), _theirs(image, tmp_path)
        assert set(np.unique(ours)) == {0, *labels}
        # Where windows overlap, a union's logit is the mean of the largest there, and the largest of the means here.
        assert (ours == theirs).mean() > 0.99


def _run_by_monai(files: dict[str, bytes], folder: Path) -> None:
    for name, content in files.items():
        (folder / "away" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "away" / name).write_bytes(content)
    said = ["--config_file", "configs/inference.json", "--dataset_dir", folder / "images", "--output_dir", folder]
    away = folder / "away" / ROOT
    subprocess.run([sys.executable, "-m", "monai.bundle", "run", *map(str, said)], cwd=away, check=True)


def _theirs(image: Path, folder: Path) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    name = image.name.partition(".")[0]
    return np.asarray(nib.load(folder / name / f"{name}_trans.nii.gz").dataobj, dtype=np.uint8)


def _predicted(
    folder: Path, labels: dict[int, str], weights: Path, image: Path
) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    bundle = Bundle(folder)
    config = bundle.inference()
    network, channels = build_network(bundle, config, labels=labels, weights=weights)
    predictor = Predictor(bundle, config, channels, cache=None, arrangement=Arrangement())
    return predictor.segment(network.eval(), [str(image)])[0]


def test_loaders_of_its_own_load_the_new_weights_wherever_they_looked_before(parts: Parts, tmp_path: Path) -> None:
    folder = plain().write(tmp_path / "plain")
    config = folder / "configs" / "inference.json"
    written = json.loads(config.read_text())
    loader = {"_target_": "monai.handlers.CheckpointLoader", "load_path": "/nowhere/model.pt", "_disabled_": True}
    written["evaluator"]["val_handlers"] = [{**loader, "load_dict": {"model": "@network"}}]
    config.write_text(json.dumps(written))

    files = _exported(parts, folder, _weights(folder, {1: "own"}, tmp_path / "w.safetensors"), {1: "own"})

    made = json.loads(files[f"{ROOT}/configs/inference.json"])
    (found,) = made["evaluator"]["val_handlers"]
    assert (found["load_path"], "_disabled_" in found) == ("$@bundle_root + '/models/model.pt'", False)
    assert "initialize" not in made


def test_a_last_layer_that_no_configuration_can_say_is_refused_with_the_reason(parts: Parts, tmp_path: Path) -> None:
    folder = odd_ids().write(tmp_path / "odd")
    labels = {1: "own", 2: "another", 3: "a third"}

    with pytest.raises(CannotExportError, match=r"^Cannot export monai bundle\. .* MONAI cannot build it$"):
        _exported(parts, folder, _weights(folder, labels, tmp_path / "w.safetensors"), labels)
    assert list((parts.settings.home / "work").iterdir()) == []

"""What an app's model becomes: a bundle, with the weights that `--conf` asks for."""

import json
import shutil
from pathlib import Path

import pytest

from tasks.compute.apps.interfaces import App, BundleTask, InferTask
from tasks.compute.apps.load import Model
from tasks.compute.apps.write import write
from tests.apps.guide_004.app import MyInfer, _unet

SAMPLE = Path(__file__).resolve().parents[5] / "bundles" / "sample"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An app's folder with weights at its top, which are nobody's, and a bundle that has its own."""
    folder = tmp_path / "app"
    shutil.copytree(SAMPLE, folder / "bundle")
    for models, what in ((folder, "nobody's"), (folder / "bundle", "its own")):
        (models / "models").mkdir()
        (models / "models" / "model.pt").write_text(what)
    (folder / "first.safetensors").write_text("first")
    return folder


@pytest.mark.parametrize("said", ["true", "false"])
@pytest.mark.parametrize(
    ("path", "file", "first"),
    [
        ("bundle", "model.pt", "its own"),
        ("first.safetensors", "model.safetensors", "first"),
        (None, "", ""),
    ],
)
def test_a_model_begins_with_its_weights_unless_conf_says_otherwise(
    folder: Path, tmp_path: Path, said: str, path: str | None, file: str, first: str
) -> None:
    app, written = App(folder, {"use_pretrained_model": said}), tmp_path / "written"
    task: InferTask | BundleTask = MyInfer(_unet, labels=["spleen"], path=Path(path) if path else None)
    if path == "bundle":
        task = BundleTask(folder / path)
    write(app, "mine", Model("spleen", task, None), written)

    found = {each.name: each.read_text() for each in written.glob("models/*")}
    assert found == ({file: first} if file and said == "true" else {})
    metadata = json.loads((written / "configs" / "metadata.json").read_bytes())
    assert metadata["name"] == "mine_spleen"
    assert found or metadata["weights"] == "random(0)"

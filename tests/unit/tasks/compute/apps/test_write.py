"""What an app's model becomes: a bundle, with the weights that `--conf` asks for."""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from tasks.compute.apps.interfaces import App, BundleTask, InferTask
from tasks.compute.apps.load import Model, every_model, load
from tasks.compute.apps.write import write
from tasks.compute.failures import BundleFaultError
from tests.apps.guide_004.app import MyApp, MyInfer, _unet

SAMPLE = Path(__file__).resolve().parents[5] / "bundles" / "sample"
GUIDE = Path(sys.modules[MyApp.__module__].__file__ or "").parent
MIXED = """
from tasks.compute.apps.interfaces import BundleTask

class Mixed(MyApp):
    def init_infers(self):
        first, second = (MyInfer(_unet, labels=["x"], path=self.app_dir / f"{name}.pt") for name in "ab")
        return {"a": first, "b": second, "spleen": BundleTask(self.app_dir / "spleen")}

    def init_trainers(self):
        return {"b": MyTrainTask()}

app = Mixed
"""


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
    model = Model("spleen", task, None)
    write(app, "mine", model, written, [model])

    found = {each.name: each.read_text() for each in written.glob("models/*")}
    assert found == ({file: first} if file and said == "true" else {})
    metadata = json.loads((written / "configs" / "metadata.json").read_bytes())
    assert metadata["name"] == "mine_spleen"
    assert found or metadata["weights"] == "random(0)"


@pytest.fixture
def app(tmp_path: Path) -> App:
    """An app of two models with weights and a bundle in its folder, at whose top a configuration was forgotten."""
    folder = tmp_path / "mixed"
    for configs in (folder / "configs", folder / "spleen" / "configs"):
        configs.mkdir(parents=True)
    (folder / "configs" / "train.json").write_text("{}")
    (folder / "spleen" / "configs" / "metadata.json").write_text("{}")
    (folder / "spleen" / "models").mkdir()
    for weights in ("a.pt", "b.pt", "spleen/models/model.pt"):
        (folder / weights).write_bytes(weights.encode())
    (folder / "app.py").write_text((GUIDE / "app.py").read_text() + MIXED)
    return load(folder, {})


def _written(app: App, name: str, folder: Path) -> tuple[Path, set[str]]:
    """Return a model's bundle, and what of weights and configurations it has."""
    every = every_model(app)
    write(app, "mixed", every[name], folder / name, every.values())
    kept = [path for path in (folder / name).rglob("*") if path.suffix in {".json", ".pt"}]
    return folder / name, {path.relative_to(folder / name).as_posix() for path in kept}


def _json(file: Path) -> Any:
    return json.loads(file.read_bytes())


def test_a_models_bundle_has_its_weights_alone_and_no_configuration_that_is_not_its_own(
    app: App, tmp_path: Path
) -> None:
    common = {"teachback-app.json", "configs/metadata.json", "spleen/configs/metadata.json"}
    of_a = {"configs/inference.json", "models/model.pt", "a.pt"}
    assert _written(app, "a", tmp_path)[1] == common | of_a
    folder, found = _written(app, "spleen", tmp_path)
    assert found == common | {"models/model.pt"}
    assert (folder / "models" / "model.pt").read_bytes() == b"spleen/models/model.pt"


def test_labels_that_overlap_are_judged_with_the_first_of_them(app: App, tmp_path: Path) -> None:
    folder, _ = _written(app, "b", tmp_path)
    [judged] = _json(folder / "configs" / "train.json")["validate"]["key_metric"].values()
    assert judged == {"_target_": "MeanDice", "include_background": True}


def test_a_model_that_is_judged_by_what_is_not_known_is_refused(app: App, tmp_path: Path) -> None:
    task: Any = every_model(app)["b"].train
    type(task).key_metric = lambda _: "rmse"
    with pytest.raises(BundleFaultError, match=r"MyTrainTask\.key_metric returns 'rmse': return 'mean_dice' or"):
        _written(app, "b", tmp_path)

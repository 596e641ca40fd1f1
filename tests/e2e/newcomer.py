"""What 3D Slicer's module sends, from its first look at a server to the round that its user's fifth label starts."""

import json
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus, urlencode

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from tests.fixtures_installation import Installation
from tests.integration.api.label_client import LabelClient, Segmented
from tests.processes import wait_until

SHAPE = (32, 30, 28)
SLICER = {"result_extension": ".nrrd", "result_dtype": "uint8", "client_id": "user-xyz"}
_BACKGROUND, _FOREGROUND = 4, 5  # behind the model's three labels, as Slicer exports its segments


def make_images(folder: Path, count: int = 6) -> Path:
    """Write noisy volumes with a bright body in each, and nothing else: a newcomer's own."""
    rng = np.random.default_rng(5)
    for number in range(count):
        path = folder / f"patient {number}" / "ct.nii.gz"
        path.parent.mkdir(parents=True)
        image = 100 * _body() + rng.normal(0, 20, SHAPE)
        nib.save(nib.Nifti1Image(image.astype(np.float32), np.diag([1.0, 1.0, 1.5, 1.0])), path)
    return folder


def walk(installation: Installation, folder: Path) -> None:
    """Do what a newcomer does after `up --studies`; nothing else was configured."""
    slicer = _logged_in(installation)
    info = slicer.get("/info/")
    assert not info.get("config")
    [model] = [name for name, each in info["models"].items() if each["type"] == "segmentation"]
    assert (list(info["trainers"]), info["train_stats"]) == ([model], {})
    for number in range(5):
        assert slicer.get("/info/")["train_stats"] == {}, "no round before the fifth label"
        image = slicer.post("/activelearning/first", {"client_id": "user-xyz"}).json
        assert not Path(image["path"]).exists(), "it downloads what is not on its disk"
        downloaded = slicer.call("GET", f"/datastore/image?image={quote_plus(image['id'])}")
        assert "filename" in downloaded.headers["content-disposition"]
        slicer.get("/datastore/?output=all")
        found = slicer.infer(model, image["id"], SLICER)
        if number == 0:
            _scribble(slicer, image["id"], found.params["label_names"], folder)
        _submit(slicer, image["id"], model, found, folder)
    wait_until(lambda: bool(slicer.get("/info/")["train_stats"]), "the round that the fifth label starts")
    wait_until(lambda: "total_time" in slicer.get("/info/")["train_stats"][model], "its end")
    stats = slicer.get("/info/")["train_stats"][model]
    assert stats["epoch"] == stats["total_epochs"] > 0
    assert slicer.get("/info/")["datastore"]["completed"] == 5


def _logged_in(installation: Installation) -> LabelClient:
    server = LabelClient(installation.address)
    assert server.get("/auth/")["enabled"]
    said = urlencode({"username": "newcomer", "password": installation.key, "grant_type": "password"}).encode()
    token = server.call("POST", "/auth/token", said, "application/x-www-form-urlencoded").json
    return LabelClient(installation.address, token["access_token"])


def _submit(slicer: LabelClient, image: str, model: str, found: Segmented, folder: Path) -> None:
    names = found.params["label_names"]
    drawn = _volume(_body().astype(np.uint8), folder / "drawn.nii.gz")
    said = {"label_info": [{"name": name, "idx": value} for name, value in names.items()], "model": model}
    fields = {"params": json.dumps({**said, "client_id": "user-xyz"})}
    saved = slicer.form("PUT", f"/datastore/label?image={quote_plus(image)}", fields, {"label": drawn}).json
    assert saved["image"] == image


def _scribble(slicer: LabelClient, image: str, names: dict[str, int], folder: Path) -> None:
    """Draw a stroke in the body and one beside it, in a region, and press Update."""
    body = _body()
    strokes = np.zeros(SHAPE, np.uint8)
    strokes[12:20, 15, 14], strokes[4:28, 3, 14] = _FOREGROUND, _BACKGROUND
    named = {**names, "background_scribbles": _BACKGROUND, "foreground_scribbles": _FOREGROUND}
    label = next(iter(names))
    params: dict[str, Any] = {
        "label_info": [{"name": name, "id": value} for name, value in named.items()],
        "selected_label_name": label,
        "roi": [31, 2, 2, 29, 1, 27],
    }
    file = _volume(strokes, folder / "strokes.nii.gz")
    for method in ("Histogram+GraphCut", "GMM+GraphCut"):
        found = slicer.infer(method, image, {**SLICER, **params}, label=file)
        assert found.params["label_names"] == {label: names[label]}
        path = folder / "found.nrrd"
        path.write_bytes(found.content)
        inside = _read(path) == names[label]
        assert 2 * (inside & body).sum() / (inside.sum() + body.sum()) > 0.9, method


def _body() -> NDArray[np.bool_]:
    at = (np.indices(SHAPE) - np.reshape(SHAPE, (3, 1, 1, 1)) / 2) / np.reshape(SHAPE, (3, 1, 1, 1))
    return np.asarray(np.linalg.norm(at, axis=0) < 0.3)


def _volume(array: NDArray[np.uint8], path: Path) -> Path:
    nib.save(nib.Nifti1Image(array, np.diag([1.0, 1.0, 1.5, 1.0])), path)
    return path


def _read(path: Path) -> NDArray[np.uint8]:
    _, _, voxels = path.read_bytes().partition(b"\n\n")
    return np.frombuffer(voxels, np.uint8).reshape(SHAPE, order="F")

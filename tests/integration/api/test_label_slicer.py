"""What 3D Slicer's module sends, call by call, and what it takes from the answers."""

import json
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

import nibabel as nib
import numpy as np
import pytest

from infra.services.callers import Role
from tests.integration.api.conftest import AFFINE, Api, write_label
from tests.integration.api.label_client import IN_URL, NAME, SCRIBBLES, SHAPE, SLICER, LabelClient, read_image, shows
from tests.integration.api.slot_server import SlotServer

# What is said; how many clicks that is, on which side of which labels.
CLICKS: list[tuple[dict[str, Any], int, tuple[int, ...], tuple[int, ...]]] = [
    ({"label": "liver", "foreground": [[1, 2, 3]], "background": [[4, 5, 6]]}, 2, (1, 0), (1,)),
    ({"label": "spleen", "background": [[4, 5, 6]]}, 1, (0,), (2,)),
    ({"liver": [], "spleen": [[1, 2, 3], [2, 2, 2]], "background": []}, 2, (1, 1), (2,)),
    ({"points": [[1, 2, 3]], "point_labels": [1], "label_prompt": [2]}, 1, (1,), (2,)),
    ({"label_prompt": [1, 2]}, 0, (), (1, 2)),
    ({"foreground": [], "background": [], "liver": [], "roi_size": [96, 96, 96]}, 0, (), ()),
]
REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"liver": [[1, 2, 3]], "spleen": [[2, 2, 2]]}, "label by label"),
    ({"foreground": [[1, 2, 3]], "label": "pancreas"}, "liver, spleen"),
    ({"liver": "here"}, "[i, j, k]"),
    ({"liver": [[1, 2, float("nan")]]}, "points"),
    ({"points": [[1, float("inf"), 3]], "point_labels": [1]}, "points"),
    ({"label_info": [{"name": "liver", "idx": 10**9}]}, "label_info"),
    ({"label_info": [{"name": "liver", "idx": -1}]}, "label_info"),
    ({"result_extension": ".jpg"}, ".nii.gz, .nii, .nrrd"),
    ({"result_dtype": "complex"}, "result_dtype"),
]


def test_slicers_sequence_from_info_to_a_training_that_is_polled(
    slicer: LabelClient, answer: np.ndarray[Any, Any], tmp_path: Path
) -> None:
    info = slicer.get("/info/")
    assert not info.get("config")
    assert info["models"][NAME]["type"] == "segmentation"
    assert info["models"][NAME]["labels"] == {"liver": 1, "spleen": 2}
    assert (info["labels"], list(info["trainers"])) == (["liver", "spleen"], [NAME])
    assert {"random", "first"} <= info["strategies"].keys()
    assert info["datastore"] == {"total": 6, "completed": 0, "label_tags": {}}

    sample = slicer.post("/activelearning/first", {"client_id": "ann"}).json
    image = sample["id"]
    assert (image, sample["name"]) == ("p1/a", "a")
    assert sample["path"] == image, "no path of the server: Slicer would read it, had it one of this name"
    assert slicer.get("/datastore/?output=all")["objects"][image]["labels"] == {}
    assert slicer.call("GET", "/datastore/label?label=p1%2Fa&tag=original").status == 404
    downloaded = slicer.call("GET", "/datastore/image?image=p1%2Fa")
    assert 'filename="a.nii"' in downloaded.headers["content-disposition"]
    (tmp_path / "a.nii").write_bytes(downloaded.body)
    np.testing.assert_allclose(nib.load(tmp_path / "a.nii").affine, AFFINE)

    segmented = slicer.infer(NAME, image, SLICER)
    assert segmented.params["label_names"] == {"liver": 1, "spleen": 2}
    assert segmented.name.endswith(".nrrd")
    assert b"\nencoding: raw\n" in segmented.content[:400]
    shows(read_image(segmented.content, tmp_path), answer, AFFINE)

    label = write_label(tmp_path / "label.nii.gz")
    params = {"label_info": [{"name": "liver", "idx": 1}], "model": NAME}
    saved = slicer.form("PUT", "/datastore/label?image=p1%2Fa", {"params": json.dumps(params)}, {"label": label})
    assert saved.json["image"] == image
    assert slicer.get("/info/")["datastore"] == {"total": 6, "completed": 1, "label_tags": {"final": 1}}

    task = slicer.post(f"/train/{IN_URL}", {"max_epochs": 2, "name": "train_01", "device": "cuda"}).json
    assert task["status"] == "SUBMITTED"
    polled = slicer.get("/train/")
    assert (polled["id"], polled["start_ts"]) == (task["id"], task["start_ts"])
    assert slicer.get("/info/")["train_stats"][NAME]["total_epochs"] == 0
    stopped = slicer.call("DELETE", "/train/").json
    assert (stopped["status"], bool(stopped["details"][-1])) == ("STOPPED", True)
    assert slicer.call("GET", "/train/?check_if_running=true").status == 404


@pytest.mark.usefixtures("answer")
def test_clicks_reach_the_slot_however_a_client_says_them(slicer: LabelClient, slot: SlotServer) -> None:
    for params, points, sides, labels in CLICKS:
        slicer.infer(NAME, "p1/a", params)
        asked = slot.asked[-1].spec
        assert (len(asked.points), asked.point_labels, asked.label_prompt) == (points, sides, labels)
        assert asked.params == {}


@pytest.mark.usefixtures("answer")
def test_what_a_model_cannot_be_asked_is_refused_with_the_reason(slicer: LabelClient, slot: SlotServer) -> None:
    for params, said in REFUSED:
        reply = slicer.form("POST", f"/infer/{IN_URL}?image=p1%2Fa", {"params": json.dumps(params)}, {})
        assert (reply.status, said in json.loads(reply.body)["detail"]) == (400, True), reply.body
    assert slot.asked == []


def test_a_login_as_slicers_module_does_it(people_of: dict[Role, Api], address: str, experiment: str) -> None:
    client = LabelClient(address)
    assert client.get("/auth/")["enabled"] is True
    assert client.call("GET", "/info/").status == 401
    secret, url_encoded = people_of[Role.ANNOTATOR].secret, "application/x-www-form-urlencoded"
    body = f"username=ann&password={secret}&grant_type=password".encode()
    given = client.call("POST", "/auth/token", body, url_encoded).json
    assert given["token_type"] == "Bearer"
    known = LabelClient(address, given["access_token"])
    assert known.get("/auth/token/valid")["roles"] == ["annotator"]
    assert known.get("/info/")["models"].keys() == {NAME, *SCRIBBLES}, experiment
    assert client.call("GET", "/auth/token/valid").status == 401
    assert client.call("POST", "/auth/token", body.replace(b"tb_", b"tx_"), url_encoded).status == 401
    assert LabelClient(f"{address}/label/set/t/{secret}").call("GET", "/auth/").status == 404


def test_a_label_without_a_header_lies_on_its_image(slicer: LabelClient, tmp_path: Path) -> None:
    voxels = np.zeros(SHAPE, np.uint8)
    voxels[1, 2, 3] = 2
    (tmp_path / "label.bin").write_bytes(voxels.tobytes(order="F"))
    saved = slicer.form("PUT", "/datastore/label?image=p1%2Fa", {"params": "{}"}, {"label": tmp_path / "label.bin"})
    assert "warnings" not in saved.json
    found = read_image(slicer.call("GET", "/datastore/label?label=p1%2Fa&tag=final").body, tmp_path)
    shows(found, voxels, AFFINE)
    (tmp_path / "label.bin").write_bytes(b"\0" * 5)
    refused = slicer.form("PUT", "/datastore/label?image=p1%2Fa", {}, {"label": tmp_path / "label.bin"})
    assert (refused.status, b"6 x 7 x 8 voxels" in refused.body) == (400, True)


@pytest.mark.usefixtures("answer")
def test_scribbles_are_refused_by_a_model_that_takes_none(slicer: LabelClient, folder: Path) -> None:
    refused = slicer.form("POST", f"/infer/{IN_URL}?image=p1%2Fa", {}, {"label": folder / "p1/a.nii.gz"})
    assert (refused.status, b"clicks instead" in refused.body) == (400, True)


def test_scribbles_are_listed_as_models_and_say_what_strokes_they_lack(slicer: LabelClient, tmp_path: Path) -> None:
    listed = {name: model for name, model in slicer.get("/info/")["models"].items() if model["type"] == "scribbles"}
    assert set(listed) == SCRIBBLES
    strokes = {"label": write_label(tmp_path / "strokes.nii.gz", 3)}
    elsewhere = {"roi": [0, 3, 0, 3, 20, 30]}
    for form, files, path, status, said in (
        ({}, {}, "?image=p1%2Fa", 400, b"none came"),
        ({"roi": [0, 3]}, strokes, "?image=p1%2Fa", 400, b"roi has 2 numbers"),
        (elsewhere, strokes, "?image=p1%2Fa", 400, b"outside of the image"),
        ({}, strokes, "", 400, b"Neither Image"),
        ({}, strokes, "?image=p9%2Fz", 404, b"p9/z"),
        ({}, {"label": _written(tmp_path / "short.bin", b"\3")}, "?image=p1%2Fa", 400, b"a byte for each"),
        ({}, {"label": _written(tmp_path / "a.json", b"{}")}, "?image=p1%2Fa", 400, b"JSON"),
    ):
        params = {"params": json.dumps(form)}
        reply = slicer.form("POST", f"/infer/{quote_plus('GMM+GraphCut')}{path}", params, files)
        assert reply.status == status, (form, reply.body)
        assert said in reply.body


def _written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path

"""What clients of MONAI Label send, call by call, and what they take from the answers."""

import hashlib
import json
import os
import subprocess
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import quote, quote_plus, urlencode

import nibabel as nib
import numpy as np
import pytest
import SimpleITK
from sqlalchemy import update

from infra.adapters.catalog.tables import Bundle, Image, Upload
from infra.services.callers import Role
from infra.wiring import Parts
from tasks.images.geometry import RAS_FROM_LPS
from tasks.images.uploads import uploads_removed
from tasks.images.volume import Volume
from tasks.labels.forms.write import to_nrrd
from tests.integration.api.conftest import AFFINE, Api, write_label
from tests.integration.api.label_client import LabelClient, Reply, Segmented
from tests.integration.api.slot_server import SlotServer

NAME = "liver and spleen"
SCRIBBLES = {"Histogram+GraphCut", "GMM+GraphCut"}
# A Python that has MONAI Label; and which file is to be taken for its client, such as the copy in 3D Slicer's module.
_PYTHON, _CLIENT = "TEACHBACK_TEST_MONAILABEL_PYTHON", "TEACHBACK_TEST_MONAILABEL_CLIENT"
IN_URL = "liver+and+spleen"
SHAPE = (6, 7, 8)
SLICER = {"result_extension": ".nrrd", "result_dtype": "uint8"}
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
MISSING = [
    (f"/infer/{IN_URL}", 400, "Neither Image nor File not Session ID input is provided"),
    (f"/infer/{IN_URL}?image=p9%2Fz", 404, "p9/z"),
    (f"/infer/{IN_URL}?image=%2Fetc%2Fpasswd", 404, "/etc/passwd"),
    ("/infer/livr%20and%20spleen?image=p1%2Fa", 404, "Did you mean 'liver and spleen'?"),
    ("/activelearning/rndom", 404, "Did you mean 'random'?"),
]


@pytest.fixture
def answer(slot: SlotServer) -> np.ndarray[Any, Any]:
    """What the slot answers: a box, and another, in the geometry of the images."""
    array = np.zeros(SHAPE, np.uint8)
    array[1:4, 2:5, 1:3], array[4:, 5:, 6:] = 1, 2
    slot.content, slot.clicks = to_nrrd(Volume(array, RAS_FROM_LPS @ AFFINE)), True
    return array


@pytest.fixture
def slicer(people_of: dict[Role, Api], address: str, parts: Parts, experiment: str) -> LabelClient:
    """Slicer's module, at the server's root; its user may train."""
    assert experiment
    with parts.catalog.write() as session:
        session.execute(update(Bundle).values(check={"training_keys": []}))
    return LabelClient(address, people_of[Role.ENGINEER].secret)


def _read(content: bytes, folder: Path, ending: str = ".nrrd") -> Any:
    path = folder / f"result{ending}"
    path.write_bytes(content)
    return SimpleITK.ReadImage(str(path))


def _shows(found: Any, answer: np.ndarray[Any, Any]) -> None:
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(found), answer.T)
    lps = RAS_FROM_LPS @ AFFINE
    np.testing.assert_allclose(found.GetOrigin(), lps[:3, 3])


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
    _shows(_read(segmented.content, tmp_path), answer)

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
def test_an_empty_form_is_answered_in_the_images_own_form_with_what_is_said_of_it(
    slicer: LabelClient, tmp_path: Path
) -> None:
    whole = slicer.infer(NAME, "p1/a")
    assert whole.name.endswith(".nii.gz")
    assert _read(whole.content, tmp_path, ".nii.gz").GetSize() == SHAPE
    said = slicer.form("POST", f"/infer/{IN_URL}?image=p1%2Fa&output=json", {}, {})
    assert Segmented.of(said).params["label_names"] == {"liver": 1, "spleen": 2}
    assert said.json["latencies"]["total"] >= said.json["latencies"]["infer"]
    assert slicer.form("POST", f"/infer/{IN_URL}?image=p1%2Fa&output=video", {}, {}).status == 422


@pytest.mark.usefixtures("answer")
def test_an_image_may_be_called_in_any_letters(slicer: LabelClient, dataset: str, parts: Parts) -> None:
    with parts.catalog.write() as session:
        session.add(Image(dataset_id=dataset, key="p1/żó", patient_key="p1", shuffle=0.5))
    at = f"/infer/{IN_URL}?image={quote_plus('p1/żó')}"
    alone = slicer.form("POST", f"{at}&output=image", {}, {})
    assert alone.status == 200
    assert f"filename*=utf-8''{quote('żó')}_seg" in alone.headers["content-disposition"]
    whole = slicer.form("POST", at, {}, {})
    assert (whole.status, 'name="image"; filename="żó_seg'.encode() in whole.body) == (200, True)


def test_a_result_is_written_as_it_is_asked_for(
    slicer: LabelClient, answer: np.ndarray[Any, Any], tmp_path: Path
) -> None:
    for kind in ("uint8", "uint16", "int32", "float32"):
        for ending in (".nrrd", ".nii", ".nii.gz"):
            asked = {"result_extension": ending, "result_dtype": kind, "result_compress": True}
            found = _read(slicer.infer(NAME, "p1/a", asked).content, tmp_path, ending)
            assert SimpleITK.GetArrayFromImage(found).dtype == kind
            _shows(found, answer)


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


@pytest.mark.usefixtures("answer")
def test_what_is_not_there_is_a_4xx_that_says_so(slicer: LabelClient) -> None:
    for path, status, said in MISSING:
        reply = slicer.form("POST", path, {}, {}) if "infer" in path else slicer.post(path, {})
        assert (reply.status, said in json.loads(reply.body)["detail"]) == (status, True), reply.body


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


def test_the_reviewers_calls(slicer: LabelClient, people_of: dict[Role, Api], address: str, tmp_path: Path) -> None:
    mine = LabelClient(address, people_of[Role.ANNOTATOR].secret)
    label = write_label(tmp_path / "p1" / "a.nrrd.nii.gz")
    params = {"label_info": [{"name": "liver", "idx": 1}], "client_id": "ann"}
    mine.post("/activelearning/first", {"client_id": "ann"})
    assert mine.form("PUT", "/datastore/label?image=p1%2Fa", {"params": json.dumps(params)}, {"label": label}).json

    reviewer = LabelClient(address, people_of[Role.REVIEWER].secret)
    assert [LabelClient(f"{address}{path}").call("GET", "/").status for path in ("", "/label/set")] == [200, 200]
    shown = reviewer.get("/datastore/?output=all")["objects"]["p1/a"]
    assert (shown["image"]["info"]["name"], shown["image"]["info"]["ts"] > 0) == ("a", True)
    assert shown["image"]["info"]["strategy"]["first"]["client_id"] == "ann"
    info = shown["labels"]["final"]["info"]
    assert (info["label_info"], info["client_id"]) == ([{"name": "liver", "idx": 1}], "ann")
    assert reviewer.call("GET", "/datastore/label?label=p1%2Fa&tag=final").body == label.read_bytes()

    meta = {"status": "flagged", "level": "hard", "approvedBy": "rev", "comment": "the edge", "editTime": "now"}
    assert _says(mine, meta).status == 403
    assert _says(reviewer, meta).json is None
    told = reviewer.get("/datastore/?output=all")["objects"]["p1/a"]["labels"]["final"]["info"]
    assert told["segmentationMeta"] == {**meta, "approvedBy": ""}
    assert mine.post("/activelearning/first", {"client_id": "ann"}).json["sent_back"] == "the edge"

    version = "/datastore/label?image=p1%2Fa&tag=version_1"
    again = {"params": json.dumps({**params, "client_id": "rev"})}
    assert reviewer.form("PUT", version, again, {"label": write_label(tmp_path / "b.nii.gz", 2)}).status == 200
    assert _says(reviewer, {**meta, "status": "approved"}, "version_1").json is None
    tags = reviewer.get("/datastore/?output=all")["objects"]["p1/a"]["labels"]
    assert tags["version_1"]["info"]["segmentationMeta"]["status"] == "approved"
    assert reviewer.call("HEAD", version).status == 200
    assert slicer.call("DELETE", "/datastore/label?id=p1%2Fa&tag=version_1").json == {}
    assert "version_1" not in reviewer.get("/datastore/?output=all")["objects"]["p1/a"]["labels"]


def test_what_is_said_of_images_and_labels_is_kept_and_added_to(
    slicer: LabelClient, folder: Path, tmp_path: Path
) -> None:
    at, url_encoded = "/datastore/image/info?image=p1%2Fa", "application/x-www-form-urlencoded"
    for said in ({"site": "x", "grade": 1}, {"grade": 2}):
        body = urlencode({"info": json.dumps(said)}).encode()
        assert slicer.call("PUT", at, body, url_encoded).json is None
    info = slicer.get(at)
    assert (info["site"], info["grade"], info["path"]) == ("x", 2, "p1/a")
    assert slicer.get("/datastore/image/info?image=nowhere") == {}
    assert slicer.call("PUT", "/datastore/image/info?image=no", b"info=%7B%22a%22%3A1%7D", url_encoded).status == 404
    assert slicer.call("PUT", at, b"info=%5B1%5D", url_encoded).status == 400
    theirs = {**dict.fromkeys(("name", "ts", "id", "path")), "strategy": "x"}
    assert slicer.call("PUT", at, urlencode({"info": json.dumps(theirs)}).encode(), url_encoded).json is None
    sample = slicer.post("/activelearning/first", {"client_id": "ann"}).json
    assert (sample["id"], sample["path"], sample["name"]) == ("p1/a", "p1/a", "a")
    shown = slicer.get("/datastore/?output=all")["objects"]["p1/a"]["image"]["info"]
    assert (shown["name"], shown["strategy"].keys()) == ("a", {"first"})

    label = write_label(tmp_path / "label.nii.gz")
    slicer.form("PUT", "/datastore/label?image=p1%2Fa", {}, {"label": label})
    assert slicer.call("PUT", "/datastore/label/info?label=p1%2Fa&tag=final", body, url_encoded).json is None
    assert slicer.get("/datastore/label/info?label=p1%2Fa&tag=final")["grade"] == 2
    assert slicer.call("GET", "/datastore/label/info?label=p2%2Fa&tag=final").status == 404

    head, held = "/datastore/image?image=p1%2Fa", (folder / "p1/a.nii.gz").read_bytes()
    sums = [f"{name}:{hashlib.new(name, held).hexdigest()}" for name in ("SHA256", "SHA512", "MD5")]
    for one in ("", hashlib.sha256(held).hexdigest(), *sums):
        assert slicer.call("HEAD", f"{head}&check_sum={one}").status == 200, one
    assert slicer.call("HEAD", f"{head}&check_sum=SHA256:00").status == 404
    assert slicer.call("HEAD", f"{head}&check_sum=CRC:00").status == 400
    assert slicer.call("HEAD", "/datastore/image?image=p9").status == 404


def test_a_review_is_what_reviewers_did_whatever_is_sent_with_a_label(
    slicer: LabelClient, people_of: dict[Role, Api], address: str, tmp_path: Path
) -> None:
    mine, at = LabelClient(address, people_of[Role.ANNOTATOR].secret), "/datastore/label?image=p1%2Fa"
    label = write_label(tmp_path / "label.nii.gz")
    claimed = {"status": "approved", "approvedBy": "rev", "level": "hard"}
    sent = {"params": json.dumps({"segmentationMeta": claimed, "name": None, "from": "slicer"})}
    assert mine.form("PUT", at, sent, {"label": label}).status == 200
    body = urlencode({"info": json.dumps({"segmentationMeta": claimed})}).encode()
    info, url_encoded = "/datastore/label/info?label=p1%2Fa&tag=final", "application/x-www-form-urlencoded"
    assert mine.call("PUT", info, body, url_encoded).json is None
    told = slicer.get(info)
    assert told["segmentationMeta"] == {"status": "", "approvedBy": "", "comment": "", "level": "hard"}
    assert told["params"]["segmentationMeta"].keys() == {"approvedBy", "level"}

    reviewer, path = people_of[Role.REVIEWER], "/api/teachback/v1/labels"
    row = _only_label(reviewer)
    assert people_of[Role.ENGINEER].at("GET", "/api/teachback/v1/datasets/set:export").status_code == 200
    assert reviewer.at("POST", f"{path}/{row['id']}:approve", json={}).status_code == 200
    approved = slicer.get(info)["segmentationMeta"]
    assert (approved["status"], approved["approvedBy"]) == ("approved", _only_label(reviewer)["reviewed_by"])
    assert slicer.get("/datastore/?output=train") == [{"image": "p1/a", "label": row["label"]}]
    assert reviewer.at("POST", f"{path}/{row['id']}:send_back", json={"reason": "the edge"}).status_code == 200
    assert slicer.call("PUT", info, b"info=%7B%22segmentationMeta%22%3Anull%7D", url_encoded).json is None
    whole = slicer.get("/datastore/?output=all")["objects"]["p1/a"]["labels"]["final"]["info"]
    assert whole["segmentationMeta"] == {"status": "flagged", "approvedBy": "", "comment": "the edge"}
    assert slicer.get("/datastore/?output=train") == []
    assert slicer.call("GET", "/datastore/dataset").status == 400


def test_a_label_without_a_header_lies_on_its_image(slicer: LabelClient, tmp_path: Path) -> None:
    voxels = np.zeros(SHAPE, np.uint8)
    voxels[1, 2, 3] = 2
    (tmp_path / "label.bin").write_bytes(voxels.tobytes(order="F"))
    saved = slicer.form("PUT", "/datastore/label?image=p1%2Fa", {"params": "{}"}, {"label": tmp_path / "label.bin"})
    assert "warnings" not in saved.json
    found = _read(slicer.call("GET", "/datastore/label?label=p1%2Fa&tag=final").body, tmp_path)
    _shows(found, voxels)
    (tmp_path / "label.bin").write_bytes(b"\0" * 5)
    refused = slicer.form("PUT", "/datastore/label?image=p1%2Fa", {}, {"label": tmp_path / "label.bin"})
    assert (refused.status, b"6 x 7 x 8 voxels" in refused.body) == (400, True)


def _only_label(person: Api) -> Any:
    [row] = person.at("GET", "/api/teachback/v1/datasets/set/labels").json()["labels"]
    return row


def _says(client: LabelClient, meta: dict[str, str], tag: str = "final") -> Reply:
    body = urlencode({"params": json.dumps({"segmentationMeta": meta})}).encode()
    path = f"/datastore/updatelabelinfo?label=p1%2Fa&tag={tag}"
    return client.call("PUT", path, body, "application/x-www-form-urlencoded")


@pytest.mark.usefixtures("answer")
def test_an_annotators_address_needs_no_header_and_ends_with_its_key(
    people_of: dict[Role, Api], address: str, dataset: str, tmp_path: Path
) -> None:
    mine, place = people_of[Role.ANNOTATOR], f"{address}/label/{dataset}/t/"
    client = LabelClient(f"{place}{mine.secret}")
    assert client.get("/info/")["models"].keys() == {NAME, *SCRIBBLES}
    label = write_label(tmp_path / "label.nii.gz")
    assert client.form("PUT", "/datastore/label?image=p1%2Fa", {}, {"label": label}).status == 200
    assert client.infer(NAME, "p1/a", SLICER).name.endswith(".nrrd")
    assert client.post(f"/train/{IN_URL}", {}).status == 403
    assert LabelClient(f"{place}{people_of[Role.ENGINEER].secret}").call("GET", "/info/").status == 403
    admin = people_of[Role.ADMIN]
    [key] = [row for row in admin.at("GET", "/api/teachback/v1/keys").json() if row["role"] == "annotator"]
    assert admin.at("DELETE", f"/api/teachback/v1/keys/{key['id']}").status_code == 204
    assert client.call("GET", "/info/").status == 401
    assert client.form("PUT", "/datastore/label?image=p1%2Fa", {}, {"label": label}).status == 401


@pytest.mark.usefixtures("answer")
def test_other_requests_are_answered_while_inference_is_held(
    slicer: LabelClient, slot: SlotServer, tmp_path: Path
) -> None:
    slot.open.clear()
    done: list[Segmented] = []
    waiting = [Thread(target=lambda: done.append(slicer.infer(NAME, "p1/a", SLICER))) for _ in range(4)]
    for thread in waiting:
        thread.start()
    label = write_label(tmp_path / "label.nii.gz")
    try:
        assert slicer.get("/info/")["datastore"]["total"] == 6
        assert slicer.get("/datastore/?output=all")["objects"].keys() >= {"p1/a"}
        assert slicer.call("GET", "/datastore/image?image=p2%2Fa").status == 200
        assert slicer.form("PUT", "/datastore/label?image=p2%2Fa", {}, {"label": label}).status == 200
        assert done == []
    finally:
        slot.open.set()
        for thread in waiting:
            thread.join()
    assert len(done) == 4


@pytest.mark.usefixtures("experiment")
def test_two_data_sets_and_none_called_studies_have_no_default(
    slicer: LabelClient, engineer: Api, folder: Path
) -> None:
    assert slicer.get("/info/")["name"] == "set"
    made = {"client_url": str(folder), "type": "semantic_segmentation", "format": "monai"}
    engineer.made("/datasets", name="other", **made)
    refused = slicer.call("GET", "/info/")
    assert (refused.status, "/label/{data set}/" in json.loads(refused.body)["detail"]) == (404, True)
    engineer.made("/datasets", name="studies", **made)
    assert slicer.get("/info/")["name"] == "studies"
    assert slicer.get("/info")["models"].keys() == SCRIBBLES
    assert LabelClient(f"{slicer.server}/label/set", slicer.token).get("/info")["models"].keys() == {NAME, *SCRIBBLES}


@pytest.mark.usefixtures("answer")
def test_an_image_that_is_sent_is_segmented_and_a_session_is_asked_until_it_ends(
    slicer: LabelClient, stranger: Api, slot: SlotServer, folder: Path, parts: Parts
) -> None:
    held = folder / "p1/a.nii.gz"
    sent = slicer.infer(NAME, "", SLICER, file=held)
    assert sent.name == "a_seg.nrrd"
    [once] = slot.asked
    assert (once.image_id, once.dataset_id) == (0, "")
    assert once.address == f"upload:{hashlib.sha256(held.read_bytes()).hexdigest()}.nii.gz"

    made = slicer.form("PUT", "/session/?expiry=60", {"client_id": "ann"}, {"files": held}).json
    info, session = made["session_info"], made["session_id"]
    assert (info["name"], info["expiry"], info["create_ts"]) == (session, 60, info["last_access_ts"])
    assert slicer.call("GET", f"/session/{session}?image=true").body == held.read_bytes()
    assert slicer.infer(NAME, "", SLICER, session_id=session).params["label_names"] == {"liver": 1, "spleen": 2}
    assert slot.asked[-1].address == once.address
    assert LabelClient(slicer.server, stranger.secret).call("GET", f"/session/{session}").status == 404

    assert slicer.call("DELETE", f"/session/{session}").json["name"] == session
    gone = slicer.call("GET", f"/session/{session}")
    assert (gone.status, json.loads(gone.body)["detail"]) == (404, f"Session ({session}) Not Found")
    notes = folder.parent / "notes.txt"
    notes.write_text("no image")
    assert slicer.form("PUT", "/session/", {}, {"files": notes}).status == 400
    with parts.catalog.write() as rows:
        rows.execute(update(Upload).values(used_at=0.0))
    assert uploads_removed(parts) == 1


@pytest.mark.usefixtures("answer")
def test_a_result_is_kept_as_the_models_own_and_is_no_label_of_a_person(slicer: LabelClient, tmp_path: Path) -> None:
    slicer.infer(NAME, "p1/a", {**SLICER, "save_label": True})
    entry = slicer.get("/datastore/?output=all")["objects"]["p1/a"]["labels"]["original"]
    assert entry["info"]["params"]["label_names"] == {"liver": 1, "spleen": 2}
    slicer.infer(NAME, "p1/b", {**SLICER, "save_label": True, "label_tag": "final", "client_id": "ann"})
    kept = slicer.get("/datastore/label/info?label=p1%2Fb&tag=final")
    assert (kept["client_id"], slicer.get("/datastore/?output=train")) == ("ann", [])
    assert slicer.get("/info/")["datastore"]["completed"] == 0
    assert slicer.call("GET", "/datastore/label?label=p1%2Fa&tag=original").status == 200
    drawn = {"label": write_label(tmp_path / "drawn.nii.gz")}
    slicer.form("PUT", "/datastore/label?image=p1%2Fb", {"params": json.dumps({"client_id": "bea"})}, drawn)
    slicer.infer(NAME, "p1/b", {**SLICER, "save_label": True, "label_tag": "final", "client_id": "ann"})
    assert slicer.get("/datastore/label/info?label=p1%2Fb&tag=final")["client_id"] == "bea", "a person's stays final"
    for fields, status in (({}, 404), ({"label_info": [{"name": "liver", "idx": 1}]}, 400)):
        form = {"params": json.dumps(fields)}
        assert slicer.form("POST", f"/infer/{IN_URL}?image=p1%2Fa&output=dicom_seg", form, {}).status == status


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


@pytest.mark.usefixtures("answer")
@pytest.mark.skipif(_PYTHON not in os.environ, reason=f"{_PYTHON} names no Python that has MONAI Label")
def test_every_method_of_the_real_client_is_answered(slicer: LabelClient, folder: Path, tmp_path: Path) -> None:
    script, label = Path(__file__).with_name("real_client.py"), write_label(tmp_path / "label.nii.gz")
    asked = [slicer.server, slicer.token, NAME, str(folder / "p1/b.nii.gz"), str(label)]
    own = [os.environ[_PYTHON], str(script), *asked, *os.environ.get(_CLIENT, "").split()]
    done = subprocess.run(own, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[0] == "auth_enabled: true"
    assert len(done.stdout.splitlines()) == 18, done.stdout

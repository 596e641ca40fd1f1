"""What the Reviewer sends and reads: labels, what is said of them, and reviews."""

import hashlib
import json
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from infra.services.callers import Role
from tests.integration.api.conftest import Api, write_label
from tests.integration.api.label_client import LabelClient, Reply


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


def _only_label(person: Api) -> Any:
    [row] = person.at("GET", "/api/teachback/v1/datasets/set/labels").json()["labels"]
    return row


def _says(client: LabelClient, meta: dict[str, str], tag: str = "final") -> Reply:
    body = urlencode({"params": json.dumps({"segmentationMeta": meta})}).encode()
    path = f"/datastore/updatelabelinfo?label=p1%2Fa&tag={tag}"
    return client.call("PUT", path, body, "application/x-www-form-urlencoded")

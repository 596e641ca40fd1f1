"""What every client of MONAI Label sends, its Python client for one, and what they take from the answers."""

import hashlib
import json
import os
import subprocess
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import quote, quote_plus

import numpy as np
import pytest
import SimpleITK
from sqlalchemy import update

from infra.adapters.catalog.tables import Image, Upload
from infra.services.callers import Role
from infra.wiring import Parts
from tasks.images.uploads import uploads_removed
from tests.integration.api.conftest import AFFINE, Api, write_label
from tests.integration.api.label_client import (
    IN_URL,
    NAME,
    SCRIBBLES,
    SHAPE,
    SLICER,
    LabelClient,
    Segmented,
    read_image,
    shows,
)
from tests.integration.api.slot_server import SlotServer

# A Python that has MONAI Label; and which file is to be taken for its client, such as the copy in 3D Slicer's module.
_PYTHON, _CLIENT = "TEACHBACK_TEST_MONAILABEL_PYTHON", "TEACHBACK_TEST_MONAILABEL_CLIENT"
MISSING = [
    (f"/infer/{IN_URL}", 400, "Neither Image nor File not Session ID input is provided"),
    (f"/infer/{IN_URL}?image=p9%2Fz", 404, "p9/z"),
    (f"/infer/{IN_URL}?image=%2Fetc%2Fpasswd", 404, "/etc/passwd"),
    ("/infer/livr%20and%20spleen?image=p1%2Fa", 404, "Did you mean 'liver and spleen'?"),
    ("/activelearning/rndom", 404, "Did you mean 'random'?"),
]


@pytest.mark.usefixtures("answer")
def test_an_empty_form_is_answered_in_the_images_own_form_with_what_is_said_of_it(
    slicer: LabelClient, tmp_path: Path
) -> None:
    whole = slicer.infer(NAME, "p1/a")
    assert whole.name.endswith(".nii.gz")
    assert read_image(whole.content, tmp_path, ".nii.gz").GetSize() == SHAPE
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
            found = read_image(slicer.infer(NAME, "p1/a", asked).content, tmp_path, ending)
            assert SimpleITK.GetArrayFromImage(found).dtype == kind
            shows(found, answer, AFFINE)


@pytest.mark.usefixtures("answer")
def test_what_is_not_there_is_a_4xx_that_says_so(slicer: LabelClient) -> None:
    for path, status, said in MISSING:
        reply = slicer.form("POST", path, {}, {}) if "infer" in path else slicer.post(path, {})
        assert (reply.status, said in json.loads(reply.body)["detail"]) == (status, True), reply.body


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
@pytest.mark.skipif(_PYTHON not in os.environ, reason=f"{_PYTHON} names no Python that has MONAI Label")
def test_every_method_of_the_real_client_is_answered(slicer: LabelClient, folder: Path, tmp_path: Path) -> None:
    script, label = Path(__file__).with_name("real_client.py"), write_label(tmp_path / "label.nii.gz")
    asked = [slicer.server, slicer.token, NAME, str(folder / "p1/b.nii.gz"), str(label)]
    own = [os.environ[_PYTHON], str(script), *asked, *os.environ.get(_CLIENT, "").split()]
    done = subprocess.run(own, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[0] == "auth_enabled: true"
    assert len(done.stdout.splitlines()) == 18, done.stdout

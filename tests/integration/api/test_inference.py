"""`inference` in the MONAI Cloud dialect, answered by a server that speaks the slot's protocol."""

import json
from typing import Any

import pytest
from sqlalchemy import select

from configs.wire.slot import VERSION_HEADER
from infra.adapters.catalog.tables import Image
from infra.wiring import Parts
from tests.integration.api.conftest import Api
from tests.integration.api.slot_server import LABEL_MAP, SlotServer


def _infer(api: Api, experiment: str, **specs: Any) -> Any:
    return api.call("POST", f"/experiments/{experiment}/jobs", json={"action": "inference", "specs": specs})


def test_the_label_map_comes_as_clients_take_it_apart(annotator: Api, experiment: str, slot: SlotServer) -> None:
    reply = _infer(annotator, experiment, image="p1/a", bundle_params={"label_prompt": list(range(1, 118))})
    assert reply.status_code == 201, reply.text
    kind, boundary = reply.headers["content-type"].split("; boundary=")
    assert kind == "multipart/form-data"
    assert len(boundary) == 32
    opening, rest = reply.content.split(b"\r\n", 1)
    header, body = rest.split(b"\r\n\r\n", 1)
    assert opening == f"--{boundary}".encode()
    assert header.decode().split(";")[1].split("=")[1] == '"a_seg.nrrd"'
    assert body == LABEL_MAP + f"\r\n--{boundary}--\r\n".encode()
    assert reply.headers[VERSION_HEADER] == "v1"
    assert len(slot.asked[0].spec.label_prompt) == 117


def test_prompts_and_what_the_bundle_names_reach_the_slot_apart(
    annotator: Api, experiment: str, slot: SlotServer
) -> None:
    _infer(annotator, experiment, image="p1/a", bundle_params={"label_prompt": [1], "threshold": 0.3})
    assert slot.asked[0].spec.params == {"threshold": 0.3}


def test_what_the_model_refuses_is_400_in_its_words(annotator: Api, experiment: str, slot: SlotServer) -> None:
    params = {"points": [[1, 2, 3]], "point_labels": [1]}
    reply = _infer(annotator, experiment, image="p1/a", bundle_params=params)
    assert (reply.status_code, reply.json()["error_desc"]) == (400, "This model takes no points")
    assert len(slot.asked) == 1


@pytest.mark.parametrize(
    ("specs", "status"),
    [({}, 400), ({"image": "p9/z"}, 404), ({"image": "http://169.254.169.254/x"}, 400), ({"image": "../p1/a"}, 404)],
)
def test_what_is_neither_an_id_of_the_data_set_nor_an_address_outside_reaches_no_slot(
    annotator: Api, experiment: str, slot: SlotServer, specs: dict[str, Any], status: int
) -> None:
    assert _infer(annotator, experiment, **specs).status_code == status
    assert slot.asked == []


def test_an_image_behind_an_address_needs_no_data_set(
    engineer: Api, annotator: Api, experiment: str, slot: SlotServer
) -> None:
    cleared: dict[str, Any] = {"inference_dataset": None, "train_datasets": []}
    assert engineer.call("PATCH", f"/experiments/{experiment}", json=cleared).status_code == 200
    address = "http://127.0.0.1:9/pacs/ct.nii.gz?token=x"
    reply = _infer(annotator, experiment, image=address)
    assert reply.status_code == 201, reply.text
    assert b'form-data; name="ct_seg.nrrd"' in reply.content
    assert (slot.asked[0].address, slot.asked[0].image_id) == (address, 0)
    assert _infer(annotator, experiment, image="p1/a").status_code == 400
    assert _infer(annotator, experiment, image=address, dataset_id=experiment).status_code == 404


def test_an_experiment_that_is_not_served_says_so(annotator: Api, experiment: str) -> None:
    reply = _infer(annotator, experiment, image="p1/a")
    assert reply.status_code == 400
    assert "switched off" in reply.json()["error_desc"]


def test_the_image_that_was_handed_out_is_predicted_before_it_is_asked_for(
    annotator: Api, dataset: str, slot: SlotServer, parts: Parts
) -> None:
    given = annotator.made(f"/datasets/{dataset}/jobs", action="nextimage")["image"]
    with parts.catalog.read() as session:
        wanted = session.scalar(select(Image.id).where(Image.key == given))
    assert slot.asked[0].image_id == wanted
    assert all(request.background for request in slot.asked)
    assert "PatientID" not in json.dumps(given)

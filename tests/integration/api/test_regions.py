"""Regions of large pictures, as pathology's clients ask for them: cut, segmented by tiles, and answered as outlines."""

import json
from io import BytesIO
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2
from sqlalchemy import select

from infra.adapters.catalog.tables import Upload
from infra.services.callers import Role
from infra.wiring import Parts
from tasks.images.volume import Volume
from tasks.labels.forms.write import to_nrrd
from tests.integration.api.conftest import Api
from tests.integration.api.slot_server import SlotServer

MODEL = "liver and spleen"
SIZE = (60, 40)
TILE = (12, 10)
REGION: dict[str, Any] = {"location": [20, 10], "size": [24, 10], "tile_size": TILE, "min_poly_area": 4}
# Of two tiles, each of which is answered with one block of 4 x 3: from its third column, fourth row on.
BLOCKS = [(22, 13, 26, 16), (34, 13, 38, 16)]
REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"level": 1}, "Level 1 is asked for"),
    ({"location": [60, 0]}, "outside of the picture"),
    ({"tile_size": [1, 2]}, "in 120 tiles"),
    ({"params": {"liver": [[1, 2, 0]]}}, "without clicks"),
    ({"params": {"save_label": True}}, "not kept as a label"),
    ({"tile_size": [24, 10]}, "12 x 10 x 1 voxels to 24 x 10 pixels"),
]


@pytest.fixture
def folder(folder: Path) -> Path:
    """A picture beside the volumes, and one with a level of half its size."""
    picture = Image.new("RGB", SIZE, (200, 40, 90))
    picture.save(folder / "slide.png")
    half = ImageFileDirectory_v2()
    half[254] = 1
    smaller = picture.resize((SIZE[0] // 2, SIZE[1] // 2))
    smaller.encoderinfo = {"tiffinfo": half}
    picture.save(folder / "pyramid.tif", save_all=True, append_images=[smaller])
    return folder


@pytest.fixture
def asked(slot: SlotServer) -> list[Any]:
    """What the slot is asked; it answers every tile with one block of the second label."""
    array = np.zeros((*TILE, 1), np.uint8)
    array[2:6, 3:6] = 2
    array[9, 9] = 1
    slot.content = to_nrrd(Volume(array, np.eye(4)))
    return slot.asked


def _around(contour: list[list[float]]) -> tuple[float, ...]:
    points = np.array(contour)
    return (*points.min(axis=0).tolist(), *points.max(axis=0).tolist())


def test_a_region_is_answered_by_its_outlines_in_the_whole_pictures_pixels(
    annotator: Api, asked: list[Any], parts: Parts
) -> None:
    reply = annotator.at("POST", f"/infer/wsi/{MODEL}?image=slide", json=REGION)
    assert reply.status_code == 200, reply.text
    said = reply.json()
    assert (said["model"], said["location"], said["size"]) == (MODEL, [20, 10], [24, 10])
    [found] = said["annotations"]
    assert (found["label"], found["idx"]) == ("spleen", 2), "one pixel of the other is less than min_poly_area"
    assert [_around(contour) for contour in found["contours"]] == BLOCKS
    assert said["latencies"]["infer"] > 0
    with parts.catalog.read() as session:
        assert session.scalars(select(Upload)).all() == [], "tiles take no session's place"

    halved = {**REGION, "level": 1, "location": [0, 20], "size": TILE}
    reply = annotator.at("POST", f"/infer/wsi/{MODEL}?image=pyramid", json=halved)
    assert reply.status_code == 200, reply.text
    assert [_around(each) for each in reply.json()["annotations"][0]["contours"]] == [(4, 26, 12, 32)]
    assert len(asked) == 3


@pytest.mark.usefixtures("asked")
def test_viewers_get_them_in_their_own_forms_of_a_sent_picture_too(
    annotator: Api, client: TestClient, dataset: str
) -> None:
    content = BytesIO()
    Image.new("L", SIZE).save(content, "TIFF")
    form = {"wsi": json.dumps(REGION)}
    files = {"file": ("C:\\slides\\a.tif", content.getvalue())}
    reply = annotator.at("POST", f"/infer/wsi_v2/{MODEL}?output=asap", data=form, files=files)
    assert (reply.status_code, reply.headers["content-type"]) == (200, "application/xml"), reply.text
    drawn = ET.fromstring(reply.content)  # noqa: S314 - our own
    assert [group.get("Name") for group in drawn.iter("Group")] == ["spleen"]
    contours = [
        [[float(str(point.get(axis))) for axis in "XY"] for point in annotation.iter("Coordinate")]
        for annotation in drawn.iter("Annotation")
    ]
    assert [_around(contour) for contour in contours] == BLOCKS

    by_address = f"/label/{dataset}/t/{annotator.secret}/infer/wsi/{MODEL}?image=slide&output=dsa"
    shown = client.post(by_address, json=REGION)  # as their Python client, without a header
    assert shown.status_code == 200, shown.text
    elements = shown.json()["elements"]
    assert {(each["type"], each["closed"], each["label"]["value"]) for each in elements} == {
        ("polyline", True, "spleen")
    }
    assert [_around([point[:2] for point in each["points"]]) for each in elements] == BLOCKS


def test_what_is_no_picture_or_no_such_region_is_refused_with_the_reason(
    annotator: Api, people_of: dict[Role, Api], asked: list[Any]
) -> None:
    volume = annotator.at("POST", f"/infer/wsi/{MODEL}?image=p1/a", json=REGION)
    assert (volume.status_code, "which this image is not" in volume.json()["detail"]) == (400, True)
    for changed, reason in REFUSED:
        reply = annotator.at("POST", f"/infer/wsi/{MODEL}?image=slide", json={**REGION, **changed})
        assert (reply.status_code, reason in reply.json()["detail"]) == (400, True), reply.text
    for said in ({"size": [0, 5]}, {"location": [-1, 0]}, {"level": "all"}):
        assert annotator.at("POST", f"/infer/wsi/{MODEL}?image=slide", json=said).status_code == 422
    assert annotator.at("POST", f"/infer/wsi/{MODEL}?image=other", json=REGION).status_code == 404
    assert people_of[Role.ADMIN].at("POST", f"/infer/wsi/{MODEL}", json=REGION).status_code == 400
    assert len(asked) == 1, "only the one whose answer has another size was asked about"

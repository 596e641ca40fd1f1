"""A data set in each object store through the API: what guide 002 sends, and everything that an annotator does next."""

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from configs.settings import Settings
from infra.adapters.catalog.tables import Image, Label
from infra.wiring import Parts
from tests.fixtures_objects import Bucket
from tests.integration.api.conftest import Api, write_label


@pytest.fixture
def settings(tmp_path: Path, sqlite_url: str, bucket: Bucket) -> Settings:
    plain = Settings(home=tmp_path / "home", catalog_url=sqlite_url, realtime_quota=2)
    return plain.model_copy(update=bucket.settings)


@pytest.fixture
def filled(bucket: Bucket, folder: Path) -> Bucket:
    """Six images, the first with a label of the user's own, and their manifest."""
    entries: list[dict[str, Any]] = []
    for path in sorted(folder.rglob("*.nii.gz")):
        key = str(path.relative_to(folder))
        bucket.put(f"set/{key}", path.read_bytes())
        entries.append({"image": {"path": [key], "id": f"id of {key}"}, "patient": path.parent.name})
    bucket.put("set/label.nii.gz", write_label(folder / "label.nii.gz").read_bytes())
    entries[0]["label"] = {"path": ["label.nii.gz"], "id": "their label"}
    bucket.manifest(*entries, root_path=f"{bucket.url}/set")
    return bucket


def _body(bucket: Bucket, **more: object) -> dict[str, object]:
    """What guide 002 sends."""
    return {
        "name": "MONAI_CLOUD",
        "description": "Object storage dataset",
        "type": "semantic_segmentation",
        "format": "monai",
        "client_url": bucket.url,
        **bucket.credentials,
        **more,
    }


def test_from_the_address_to_a_saved_label(
    engineer: Api, annotator: Api, filled: Bucket, parts: Parts, tmp_path: Path
) -> None:
    before = filled.keys()
    made = engineer.made("/datasets", **_body(filled))
    assert (made["status"], made["state"]) == ("pull_complete", "ready")
    assert "client_secret" not in made
    with parts.catalog.read() as session:
        images = {image.key: image.id for image in session.scalars(select(Image))}
        [label] = session.scalars(select(Label))
    assert len(images) == 6
    assert (label.image_id, label.store_key, label.imported) == (images["id of p1/a.nii.gz"], "their label", True)

    given = annotator.made(f"/datasets/{made['id']}/jobs", action="nextimage")
    assert given["image"] in images.keys() - {"id of p1/a.nii.gz"}
    assert given["meta"] == {"labels": []}
    cached = engineer.made(f"/datasets/{made['id']}/jobs", action="cacheimage", specs={"image": given["image"]})
    assert cached == {}
    at, asked = f"/label/{made['id']}/datastore", {"image": given["image"]}
    shown = annotator.at("GET", f"{at}/image", params=asked)
    assert shown.status_code == 200

    content = write_label(tmp_path / "mine.nii.gz", 2).read_bytes()
    saved = annotator.at("PUT", f"{at}/label", params=asked, files={"label": ("mine.nii.gz", content)})
    assert saved.status_code == 200, saved.text
    [written] = filled.keys() - before
    assert written.startswith("teachback/labels/")
    assert filled.keys() - {written} == before
    seen = annotator.at("GET", f"{at}/label", params={"label": given["image"], "tag": "final"})
    assert seen.content == content

    refused = annotator.at("PUT", f"{at}/image", files={"file": ("new.nii.gz", content)})
    assert (refused.status_code, "manifest" in refused.json()["detail"]) == (400, True)
    copy = engineer.at("GET", f"/api/teachback/v1/datasets/{made['id']}:manifest")
    assert copy.status_code == 200, copy.text
    labelled = {entry["image"]["id"]: entry["label"]["id"] for entry in copy.json()["data"] if "label" in entry}
    assert labelled == {"id of p1/a.nii.gz": "their label", given["image"]: Path(written).name.removesuffix(".nii.gz")}
    filled.put("elsewhere/copy.json", copy.content)
    address = {"client_url": f"{filled.url}/elsewhere/copy.json"}
    engineer.made("/datasets", **_body(filled) | address)
    with parts.catalog.read() as session:
        known = session.execute(select(Image.key, Image.id).where(Image.dataset_id != made["id"])).all()
        read = session.scalars(select(Label).where(Label.dataset_id != made["id"])).all()
    keys = {image_id: key for key, image_id in known}
    assert len(keys) == 6
    assert {keys[label.image_id]: label.store_key for label in read} == labelled


def test_what_cannot_be_read_makes_no_data_set_and_new_credentials_are_tried_first(
    engineer: Api, filled: Bucket
) -> None:
    wrong = {"client_id": "nobody", "client_secret": "no such secret"}
    refused = engineer.call("POST", "/datasets", json=_body(filled, **wrong))
    assert refused.status_code == 400
    assert "no such secret" not in refused.text
    made = engineer.made("/datasets", **_body(filled))
    at = f"/datasets/{made['id']}"
    assert engineer.call("PATCH", at, json=wrong).status_code == 400
    if filled.credentials:
        assert engineer.call("PATCH", at, json=filled.credentials).status_code == 200
    assert engineer.call("GET", at).json()["state"] == "ready"
    assert engineer.made(f"{at}/jobs", action="nextimage")["image"]


def test_a_manifest_of_what_is_not_there_is_refused_as_the_service_did(engineer: Api, filled: Bucket) -> None:
    filled.manifest({"image": {"path": ["gone.nii.gz"], "id": "x"}})
    reply = engineer.call("POST", "/datasets", json=_body(filled))
    assert reply.status_code == 400
    said = reply.json()["error_desc"]
    assert said.startswith("Some samples don't exist in the given object storage.")
    assert "1 of 1 images" in said


def test_an_object_that_goes_later_is_skipped_and_named(engineer: Api, filled: Bucket, parts: Parts) -> None:
    made = engineer.made("/datasets", **_body(filled))
    filled.remove("set/p4/a.nii.gz")
    assert engineer.call("PATCH", f"/datasets/{made['id']}", json={"on_gap": "resample"}).status_code == 200
    with parts.catalog.read() as session:
        reasons = {image.key: image.skipped_reason for image in session.scalars(select(Image))}
    assert reasons.pop("id of p4/a.nii.gz").startswith("missing: ")
    assert set(reasons.values()) == {""}


@pytest.mark.parametrize("bucket", ["s3"], indirect=True)
def test_labels_of_a_manifest_that_nothing_learns_from_are_counted_by_why(engineer: Api, filled: Bucket) -> None:
    image = {"path": "p1/a.nii.gz"}
    said: list[object] = ["polyp", True, [[1, 2]], 3, None, [], {"path": "broken.nii.gz", "id": "l"}]
    filled.put("set/broken.nii.gz", b"no NIfTI")
    entries = [{"image": {**image, "id": f"u-{n}"}, "label": each} for n, each in enumerate(said)]
    filled.manifest(*entries, root_path=f"{filled.url}/set")

    made = engineer.made("/datasets", **_body(filled))

    shown = engineer.at("GET", f"/api/teachback/v1/datasets/{made['id']}").json()
    assert shown["labels_left_out"] == {"neither mask, class nor boxes": 4}
    listed = engineer.at("GET", f"/api/teachback/v1/datasets/{made['id']}/labels").json()["labels"]
    assert [label["image"] for label in listed] == ["u-3"]

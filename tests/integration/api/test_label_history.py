"""Labels over HTTP: versions, tags, kinds, review, quarantine, deletion and what is removed for good."""

import json
import os
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from sqlalchemy import select

from infra.adapters.catalog.tables import Audit, Image, Job, Label
from infra.services.callers import Role
from infra.wiring import Parts
from tasks.labels.purge import FRESH_S
from tests.integration.api.conftest import AFFINE, Api, write_label

OURS = "/api/teachback/v1"
pytestmark = pytest.mark.usefixtures("loop")


@pytest.fixture
def reviewer(people_of: dict[Role, Api]) -> Api:
    return people_of[Role.REVIEWER]


@pytest.fixture
def admin(people_of: dict[Role, Api]) -> Api:
    return people_of[Role.ADMIN]


@pytest.fixture
def loop(engineer: Api, experiment: str) -> str:
    """A running loop whose rounds need five labels."""
    return str(engineer.made(f"/experiments/{experiment}/jobs", action="annotation", specs={"round_size": 5}))


def _save(api: Api, image: str, content: bytes, tag: str = "final", **params: Any) -> Any:
    reply = api.at(
        "PUT",
        f"/label/set/datastore/label?image={image}&tag={tag}",
        files={"label": ("label.bin", content)},
        data={"params": json.dumps(params)},
    )
    assert reply.status_code == 200, reply.text
    return reply.json()


def _labels(api: Api, **query: Any) -> list[Any]:
    reply = api.at("GET", f"{OURS}/datasets/set/labels", params=query)
    assert reply.status_code == 200, reply.text
    found: list[Any] = reply.json()["labels"]
    return found


def _pending(parts: Parts, loop: str) -> int:
    with parts.catalog.read() as session:
        return session.get_one(Job, loop).pending


def _mask(tmp_path: Path, value: int = 1, corner: int = 1) -> bytes:
    array = np.zeros((6, 7, 8), dtype=np.uint8)
    array[corner : corner + 2, 1:4, 1:4] = value
    nib.save(nib.Nifti1Image(array, AFFINE), tmp_path / "mask.nii")
    return (tmp_path / "mask.nii").read_bytes()


def test_every_save_is_a_version_that_is_listed_and_fetched_by_number_tag_and_id(
    annotator: Api, tmp_path: Path
) -> None:
    first, second = _mask(tmp_path), _mask(tmp_path, corner=2)
    said: dict[str, Any] = {"label_info": [{"name": "liver", "idx": 1}], "client_id": "anna", "tool": "Slicer"}
    made = _save(annotator, "p1/a", first, model_version="v-1", **said)
    _save(annotator, "p1/a", second, **said)

    listed = _labels(annotator, image="p1/a")

    assert [(row["version"], row["state"], row["tags"]) for row in listed] == [
        (2, "active", ["final"]),
        (1, "superseded", []),
    ]
    assert [(row["author_name"], row["tool"], row["base_version"]) for row in listed] == [
        ("anna", "Slicer", None),
        ("anna", "Slicer", "v-1"),
    ]
    assert listed[0]["annotated"] == ["liver"]
    for query, content in (
        ("label=p1/a", second),
        ("label=p1/a&tag=final", second),
        ("label=p1/a&tag=version_1", first),
        ("label=p1/a&tag=version_2", second),
        (f"label={made['label']}", first),
    ):
        assert annotator.at("GET", f"/label/set/datastore/label?{query}").content == content, query
    assert annotator.at("GET", f"{OURS}/labels/{listed[1]['id']}/file").content == first
    assert annotator.at("GET", "/label/set/datastore/label?label=p1/a&tag=version_3").status_code == 404


def test_the_same_bytes_under_another_tag_are_one_version_with_two_tags_and_count_once(
    annotator: Api, loop: str, parts: Parts, tmp_path: Path
) -> None:
    content = _mask(tmp_path)
    first = _save(annotator, "p1/a", content)
    again = _save(annotator, "p1/a", content, tag="checked")

    [row] = _labels(annotator)
    assert (row["tags"], first["label"], _pending(parts, loop)) == (["checked", "final"], again["label"], 1)
    assert _labels(annotator, tag="checked") == [row]


def test_a_models_output_is_kept_under_original_and_is_no_label(
    annotator: Api, loop: str, folder: Path, parts: Parts, tmp_path: Path
) -> None:
    content = _mask(tmp_path)
    _save(annotator, "p1/a", content, tag="original")
    [row] = _labels(annotator)
    assert (row["state"], row["place"], _pending(parts, loop)) == ("prediction", "home", 0)
    assert not list((folder / "teachback").rglob("*.nii*")) if (folder / "teachback").exists() else True

    _save(annotator, "p1/a", content, unedited=True)
    assert _pending(parts, loop) == 1


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ({"class": 3}, "class"),
        ({"class": 0}, "class"),
        ({"boxes": [[-9.0, 12, 30, -3, 18, 40]], "classes": [1]}, "boxes"),
    ],
)
def test_classes_and_boxes_are_stored_and_versioned_and_counted_in_no_round(
    said: dict[str, Any], kind: str, annotator: Api, loop: str, folder: Path, parts: Parts
) -> None:
    content = json.dumps(said).encode()
    answer = _save(annotator, "p1/a", content)

    [row] = _labels(annotator)
    assert (row["kind"], row["state"], row["place"]) == (kind, "active", "store")
    assert "no experiment of the data set learns" in answer["warnings"][0]
    assert (folder / row["label"]).read_bytes() == content
    assert annotator.at("GET", "/label/set/datastore/label?label=p1/a").json() == said
    assert _pending(parts, loop) == 0
    with parts.catalog.read() as session:
        assert not session.scalars(select(Image).where(Image.key == "p1/a")).one().open


@pytest.mark.parametrize(
    "content",
    [
        b"{}",
        b'{"class": "liver"}',
        b'{"class": -1}',
        b'{"boxes": [[1, 2, 3, 4, 5]], "classes": [1]}',
        b'{"boxes": [[1, 2, 3, 4, 5, 6]], "classes": []}',
        b'{"boxes": [[4, 2, 3, 1, 5, 6]], "classes": [1]}',
        b'{"boxes": [[1, 2, 3, 4, 5, 1e999]], "classes": [1]}',
    ],
)
def test_json_that_is_no_label_is_refused(content: bytes, annotator: Api) -> None:
    reply = annotator.at("PUT", "/label/set/datastore/label?image=p1/a", files={"label": ("x.json", content)})
    assert reply.status_code == 400, reply.text
    assert '"class": 3' in reply.json()["detail"]


def test_boxes_beside_the_image_are_kept_in_quarantine(annotator: Api) -> None:
    answer = _save(annotator, "p1/a", b'{"boxes": [[500, 500, 500, 510, 510, 510]], "classes": [1]}')
    [row] = _labels(annotator, state="quarantined")
    assert "beside the image" in answer["warnings"][-1]
    assert row["warnings"] == answer["warnings"]


def test_a_label_in_quarantine_is_listed_with_its_reason_and_released_with_the_names_it_lacked(
    annotator: Api, engineer: Api, loop: str, parts: Parts, tmp_path: Path
) -> None:
    _save(annotator, "p1/a", _mask(tmp_path, value=9))
    [row] = _labels(annotator, state="quarantined")
    assert "values 9" in row["warnings"][0]
    path = f"{OURS}/labels/{row['id']}:release"

    assert engineer.at("POST", path, json={}).status_code == 409
    released = engineer.at("POST", path, json={"names": {"9": "spleen"}})

    assert released.status_code == 200, released.text
    assert (released.json()["state"], released.json()["annotated"]) == ("active", ["spleen"])
    assert _pending(parts, loop) == 1
    assert engineer.at("POST", path, json={}).status_code == 409
    assert engineer.at("GET", f"{OURS}/status").json()["counts"]["pending_uploads"] == 1


def test_a_name_given_on_release_is_added_to_those_that_the_other_values_have(
    annotator: Api, engineer: Api, tmp_path: Path
) -> None:
    array = np.zeros((6, 7, 8), dtype=np.uint8)
    array[1:3], array[4:] = 1, 9
    nib.save(nib.Nifti1Image(array, AFFINE), tmp_path / "two.nii")
    _save(annotator, "p1/a", (tmp_path / "two.nii").read_bytes())
    [row] = _labels(annotator, state="quarantined")

    released = engineer.at("POST", f"{OURS}/labels/{row['id']}:release", json={"names": {"9": "lesion"}}).json()

    assert released["names"] == {"1": "liver", "2": "spleen", "9": "lesion"}
    assert released["annotated"] == ["lesion", "liver"]
    assert not [warning for warning in released["warnings"] if "no name" in warning]


def test_a_reviewer_approves_and_sends_back_and_the_author_reads_why(
    annotator: Api, reviewer: Api, engineer: Api, loop: str, dataset: str, parts: Parts, tmp_path: Path
) -> None:
    assert engineer.call("PATCH", f"/datasets/{dataset}", json={"train_on": "approved"}).status_code == 200
    _save(annotator, "p1/a", _mask(tmp_path))
    [row] = _labels(annotator)
    assert _pending(parts, loop) == 0

    approved = reviewer.at("POST", f"{OURS}/labels/{row['id']}:approve").json()
    assert (approved["approved"], _pending(parts, loop)) == (True, 1)
    assert reviewer.at("POST", f"{OURS}/labels/{row['id']}:send_back", json={"reason": ""}).status_code == 422
    back = reviewer.at("POST", f"{OURS}/labels/{row['id']}:send_back", json={"reason": "tail missing"}).json()

    assert (back["state"], back["review_reason"], _pending(parts, loop)) == ("sent_back", "tail missing", 0)
    given = annotator.made(f"/datasets/{dataset}/jobs", action="nextimage")
    assert (given["image"], given["meta"]["sent_back"]) == ("p1/a", "tail missing")
    assert reviewer.at("POST", f"{OURS}/labels/{row['id']}:approve").status_code == 409


def test_both_dialects_show_what_two_people_say_how_far_they_agree_and_what_waits_for_review(
    annotator: Api, reviewer: Api, engineer: Api, dataset: str, tmp_path: Path
) -> None:
    said = {"annotators_per_image": 2, "train_on": "approved", "resolve": "staple"}
    assert engineer.call("PATCH", f"/datasets/{dataset}", json=said).status_code == 200
    shown = reviewer.call("GET", f"/datasets/{dataset}").json()["label_settings"]
    assert {name: shown[name] for name in said} == said
    assert reviewer.at("GET", f"{OURS}/datasets/set").json()["label_settings"] == shown
    assert reviewer.at("GET", "/label/set/datastore/?output=all").json()["label_settings"] == shown
    saved = {
        name: _save(annotator, "p1/a", _mask(tmp_path, corner=corner), client_id=name)["label"]
        for corner, name in ((1, "anna"), (2, "ben"))
    }

    def run(api: Api, action: str, **specs: Any) -> Any:
        return api.made(f"/datasets/{dataset}/jobs", action=action, specs=specs)

    def listed(output: str) -> Any:
        return reviewer.at("GET", f"/label/set/datastore/?output={output}").json()

    queue = run(annotator, "queue")["labels"]
    assert [(row["label"], row["author_name"], row["layer"]) for row in queue] == [
        (saved["ben"], "ben", 1),
        (saved["anna"], "anna", 0),
    ]
    waiting = [(row["image"], row["label"], row["info"]["client_id"]) for row in listed("queue")]
    assert waiting == [("p1/a", saved["ben"], "ben"), ("p1/a", saved["anna"], "anna")]
    assert len(run(reviewer, "queue", limit=1)["labels"]) == 1

    [pair] = run(reviewer, "agreement", image="p1/a")["agreement"]
    assert (pair["authors"], pair["names"]["liver"]["dice"]) == (["anna", "ben"], pytest.approx(0.5))
    assert listed("agreement") == [pair]

    [approved] = run(reviewer, "review", label=saved["ben"], approve=True)["labels"]
    [flagged] = run(reviewer, "review", label=queue[1]["id"], reason="the tail is missing")["labels"]
    assert (approved["approved"], flagged["state"], flagged["author_name"]) == (True, "sent_back", "anna")
    labels = listed("all")["objects"]["p1/a"]["labels"]
    assert {tag: one["info"]["client_id"] for tag, one in labels.items()} == {"final": "ben", "version_1": "anna"}
    reviews = {tag: one["info"]["segmentationMeta"] for tag, one in labels.items()}
    assert (reviews["final"]["status"], reviews["version_1"]["status"]) == ("approved", "flagged")
    assert reviews["version_1"]["comment"] == "the tail is missing"
    anna_s = reviewer.at("GET", "/label/set/datastore/label?label=p1/a&tag=version_1")
    assert (anna_s.status_code, anna_s.content) == (200, _mask(tmp_path, corner=1))
    assert (run(reviewer, "queue"), listed("queue")) == ({"labels": []}, [])


def test_a_review_that_says_nothing_or_that_its_caller_may_not_give_is_refused_in_the_dialect_s_shape(
    annotator: Api, reviewer: Api, stranger: Api, dataset: str, tmp_path: Path
) -> None:
    label = _save(annotator, "p1/a", _mask(tmp_path))["label"]
    yes = {"label": label, "approve": True}
    for api, action, specs, status in (
        (reviewer, "review", {"label": label}, 400),
        (reviewer, "review", {**yes, "reason": "the edge"}, 400),
        (reviewer, "review", {"label": label, "reason": "   "}, 400),
        (reviewer, "review", {"label": label, "reason": "x" * 1001}, 400),
        (reviewer, "review", {"label": ["x"], "approve": True}, 400),
        (reviewer, "review", {"approve": True}, 400),
        (reviewer, "review", {**yes, "label": "labels/none.nii"}, 404),
        (annotator, "review", yes, 403),
        (annotator, "agreement", {}, 403),
        (reviewer, "agreement", {"limit": 10**9}, 400),
        (reviewer, "queue", {"limit": 0}, 400),
        (reviewer, "queue", {"image": "p1/a"}, 400),
    ):
        reply = api.call("POST", f"/datasets/{dataset}/jobs", json={"action": action, "specs": specs})
        assert (reply.status_code, "error_desc" in reply.json()) == (status, True), (specs, reply.text)
    for action in ("queue", "review", "agreement"):
        job = {"action": action, "specs": yes if action == "review" else {}}
        assert stranger.call("POST", f"/datasets/{dataset}/jobs", json=job).status_code == 404
        assert "default" in reviewer.call("GET", f"/datasets/{dataset}/specs/{action}/schema").json()
    assert annotator.at("GET", "/label/set/datastore/?output=agreement").status_code == 403
    assert reviewer.at("GET", "/label/set/datastore/?output=queues").status_code == 422
    [row] = _labels(reviewer)
    assert (row["approved"], row["state"]) == (False, "active")
    assert (
        reviewer.call("POST", f"/datasets/{dataset}/jobs", json={"action": "review", "specs": yes}).status_code == 201
    )
    _save(annotator, "p1/a", _mask(tmp_path, corner=2))
    late = reviewer.call(
        "POST", f"/datasets/{dataset}/jobs", json={"action": "review", "specs": {**yes, "label": row["id"]}}
    )
    assert (late.status_code, "error_desc" in late.json()) == (400, True), late.text


def test_rules_that_change_are_applied_to_the_labels_that_are_there(
    annotator: Api, engineer: Api, loop: str, dataset: str, parts: Parts, tmp_path: Path
) -> None:
    for image in ("p1/a", "p2/a"):
        _save(annotator, image, _mask(tmp_path))
    assert _pending(parts, loop) == 2

    changed = engineer.call("PATCH", f"/datasets/{dataset}", json={"annotators_per_image": 2}).json()
    assert (changed["label_settings"]["annotators_per_image"], _pending(parts, loop)) == (2, 0)
    _save(engineer, "p1/a", _mask(tmp_path, corner=2))
    assert _pending(parts, loop) == 1
    engineer.call("PATCH", f"/datasets/{dataset}", json={"annotators_per_image": 1})
    assert _pending(parts, loop) == 2
    assert engineer.call("PATCH", f"/datasets/{dataset}", json={"labels_to": "ftp://x"}).status_code in {400, 422}


def test_a_deleted_label_is_hidden_everywhere_and_its_image_waits_again(
    annotator: Api, reviewer: Api, engineer: Api, loop: str, parts: Parts, folder: Path, tmp_path: Path
) -> None:
    content = _mask(tmp_path)
    label = _save(annotator, "p1/a", content)["label"]

    assert reviewer.at("DELETE", f"/label/set/datastore/label?id={label}").status_code == 403
    assert annotator.at("DELETE", f"/label/set/datastore/label?id={label}").json() == {}
    assert annotator.at("DELETE", f"/label/set/datastore/label?id={label}").json() == {}

    assert (_labels(annotator), _pending(parts, loop)) == ([], 0)
    assert annotator.at("GET", f"/label/set/datastore/label?label={label}").status_code == 404
    assert annotator.at("GET", f"{OURS}/datasets/set/labels?deleted=true").status_code == 403
    assert [row["label"] for row in _labels(engineer, deleted=True)] == [label]
    assert (folder / label).exists()
    with parts.catalog.read() as session:
        assert session.scalars(select(Image).where(Image.key == "p1/a")).one().open
    engineer.at("POST", f"{OURS}/datasets/set:sync")
    assert _labels(annotator) == []
    _save(annotator, "p1/a", content)
    assert [row["state"] for row in _labels(annotator)] == ["active"]


def test_what_was_deleted_is_removed_for_good_only_when_an_admin_says_so(
    annotator: Api, admin: Api, parts: Parts, folder: Path, tmp_path: Path
) -> None:
    theirs = write_label(folder / "labels" / "p2" / "a.nii.gz")
    admin.at("POST", f"{OURS}/datasets/set:sync")
    for image in ("p1/a", "p1/b"):
        _save(annotator, image, _mask(tmp_path, corner=3))
    rows = {row["image"]: row for row in _labels(admin)}
    for image in ("p1/a", "p2/a"):
        assert admin.at("DELETE", f"{OURS}/labels/{rows[image]['id']}").status_code == 204
    for path in (parts.settings.home).rglob("*"):
        os.utime(path, (path.stat().st_atime, path.stat().st_mtime - 2 * FRESH_S))

    only_counted = admin.at("POST", f"{OURS}/labels:purge", json={"older_than_days": 0}).json()
    assert (only_counted["labels"], only_counted["files"]) == (2, 0)
    assert (
        admin.at("POST", f"{OURS}/labels:purge", json={"confirm": True}).json()["labels"] == 0
    )  # younger than 30 days
    done = admin.at("POST", f"{OURS}/labels:purge", json={"older_than_days": 0, "confirm": True}).json()

    # p1/b holds the same bytes as p1/a, so only the imported label's copy goes.
    assert (done["labels"], done["stored"], done["files"]) == (2, 1, 1)
    assert not (folder / rows["p1/a"]["label"]).exists()
    assert (folder / rows["p1/b"]["label"]).exists()
    assert theirs.exists()
    assert (folder / "p1" / "a.nii.gz").exists()
    admin.at("POST", f"{OURS}/datasets/set:sync")
    assert [row["image"] for row in _labels(admin)] == ["p1/b"]
    with parts.catalog.read() as session:
        assert "purge" in session.scalars(select(Audit.action)).all()
        assert session.scalars(select(Label.blob).where(Label.deleted_at.is_not(None))).all() == [None, None]

"""The annotator's way: next image, save or notify, in both dialects."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from sqlalchemy import select

from configs.wire.listen import listen
from infra.adapters.catalog.tables import Dataset, Image, Job, Label
from infra.wiring import Parts
from tests.integration.api.conftest import AFFINE, Api, write_label

IMAGES = {"p1/a", "p1/b", "p2/a", "p2/b", "p3/a", "p4/a"}


@pytest.fixture
def loop(engineer: Api, experiment: str) -> str:
    """A running loop whose rounds need two labels."""
    body = {"action": "annotation", "specs": {"round_size": 2}}
    return str(engineer.made(f"/experiments/{experiment}/jobs", **body))


def _next(api: Api, dataset: str, **specs: str) -> str:
    return str(api.made(f"/datasets/{dataset}/jobs", action="nextimage", specs=specs)["image"])


def _pending(parts: Parts, loop: str) -> int:
    with parts.catalog.read() as session:
        return session.get_one(Job, loop).pending


def test_every_request_for_an_image_gives_another_one_until_none_is_left(
    annotator: Api, engineer: Api, dataset: str
) -> None:
    given = [_next(api, dataset) for api in (annotator, engineer, annotator, engineer, annotator, engineer)]
    assert set(given) == IMAGES
    none_left = annotator.call("POST", f"/datasets/{dataset}/jobs", json={"action": "nextimage"})
    assert none_left.status_code == 404
    assert none_left.json()["error_desc"].startswith("No Unlabeled Images Found")


@pytest.mark.parametrize("begins", ["next", "save", "notify"])
def test_bundle_hosts_are_made_ready_once_as_soon_as_somebody_begins_to_label(
    annotator: Api, dataset: str, folder: Path, parts: Parts, begins: str
) -> None:
    parts.settings = parts.settings.model_copy(update={"warm_host": ""})  # the session's own stays as it is
    content = write_label(folder / "labels" / "p1" / "a.nii.gz").read_bytes()
    assert parts.settings.warm_socket is not None
    with listen(parts.settings.warm_socket) as warm:
        warm.setblocking(False)
        if begins == "next":
            _next(annotator, dataset)
        elif begins == "save":
            label = {"label": ("l.nii.gz", content)}
            annotator.at("PUT", f"/label/{dataset}/datastore/label?image=p2/a", files=label).raise_for_status()
        else:
            entry = {"image": "p1/a", "label": "labels/p1/a.nii.gz"}
            annotator.made(f"/datasets/{dataset}/jobs", action="notify", specs={"added": [entry]})
        warm.accept()[0].close()
        _next(annotator, dataset)
        with pytest.raises(BlockingIOError):  # whoever wants a host now does not stand behind those that only wake
            warm.accept()


def test_people_with_one_key_are_told_apart_by_their_client_id(
    annotator: Api, engineer: Api, dataset: str, folder: Path
) -> None:
    engineer.call("PATCH", f"/datasets/{dataset}", json={"annotators_per_image": 2})
    anna = [_next(annotator, dataset, client_id="anna") for _ in IMAGES]
    ben = [_next(annotator, dataset, client_id="ben") for _ in IMAGES]
    assert (set(anna), set(ben)) == (IMAGES, IMAGES), "each image is wanted from two, and these are two"
    content = write_label(folder.parent / "mine.nii.gz").read_bytes()
    for person in ("anna", "ben"):
        told = {"params": json.dumps({"client_id": person})}
        path = f"/label/{dataset}/datastore/label?image=p1/a"
        assert annotator.at("PUT", path, files={"label": ("l.nii.gz", content)}, data=told).status_code == 200
    found = annotator.at("GET", f"/api/teachback/v1/datasets/{dataset}/labels?image=p1/a").json()["labels"]
    assert {label["author_name"] for label in found} == {"anna", "ben"}


def test_an_image_that_came_later_is_found_when_the_others_are_gone(
    annotator: Api, dataset: str, folder: Path, parts: Parts
) -> None:
    for _ in IMAGES:
        _next(annotator, dataset)
    (folder / "p5").mkdir()
    (folder / "p5" / "new.nii.gz").write_bytes((folder / "p1" / "a.nii.gz").read_bytes())
    again = {"action": "nextimage"}
    assert annotator.call("POST", f"/datasets/{dataset}/jobs", json=again).status_code == 404  # just listed
    with parts.catalog.write() as session:
        row = session.get_one(Dataset, dataset)
        row.synced_at = (row.synced_at or 0) - 61
    assert _next(annotator, dataset) == "p5/new"


def test_cacheimage_answers_an_empty_object_and_refuses_what_is_not_there(annotator: Api, dataset: str) -> None:
    path = f"/datasets/{dataset}/jobs"
    assert annotator.made(path, action="cacheimage", specs={"image": "p1/a", "ttl": 60}) == {}
    missing = annotator.call("POST", path, json={"action": "cacheimage", "specs": {"image": "p9/z"}})
    assert missing.status_code == 404
    assert annotator.call("POST", path, json={"action": "cacheimage", "specs": {}}).status_code == 400


def test_a_notified_label_counts_once_however_often_it_is_sent(
    annotator: Api, dataset: str, folder: Path, loop: str, parts: Parts
) -> None:
    write_label(folder / "labels" / "p1" / "a.nii.gz")
    entry = {"image": "p1/a", "label": "labels/p1/a.nii.gz"}
    for _ in range(2):  # the guide sends one object, others send lists
        assert (
            annotator.made(
                f"/datasets/{dataset}/jobs", action="notify", specs={"added": entry, "updated": [], "removed": []}
            )
            == {}
        )
    assert _pending(parts, loop) == 1
    assert annotator.at("GET", "/label/set/info/").json()["datastore"]["label_tags"] == {"final": 1}
    annotator.made(f"/datasets/{dataset}/jobs", action="notify", specs={"removed": [entry]})
    assert _pending(parts, loop) == 0
    assert annotator.at("GET", "/label/set/info/").json()["datastore"]["label_tags"] == {}


def test_a_refused_entry_is_named_and_nothing_of_the_call_counts(
    annotator: Api, dataset: str, folder: Path, loop: str, parts: Parts
) -> None:
    write_label(folder / "labels" / "p1" / "a.nii.gz")
    good = {"image": "p1/a", "label": "labels/p1/a.nii.gz"}
    bad = {"image": "p2/a", "label": "labels/p2/a.nii.gz"}
    reply = annotator.call(
        "POST", f"/datasets/{dataset}/jobs", json={"action": "notify", "specs": {"added": [good, bad]}}
    )
    assert reply.status_code == 400
    assert "labels/p2/a.nii.gz" in reply.json()["error_desc"]
    assert _pending(parts, loop) == 0


def test_a_notified_label_on_another_grid_is_refused_by_name(
    annotator: Api, dataset: str, folder: Path, parts: Parts
) -> None:
    """Its bytes are safe in the user's store, so nothing of a person's work is lost by the refusal."""
    odd = folder / "labels" / "p2" / "a.nii.gz"
    odd.parent.mkdir(parents=True)
    elsewhere = AFFINE + np.array([[0, 0, 0, 500.25]] * 3 + [[0, 0, 0, 0]])
    nib.save(nib.Nifti1Image(np.ones((3, 3, 3), dtype=np.uint8), elsewhere), odd)
    entry = {"image": "p2/a", "label": "labels/p2/a.nii.gz"}
    reply = annotator.call("POST", f"/datasets/{dataset}/jobs", json={"action": "notify", "specs": {"added": entry}})
    assert reply.status_code == 400
    assert "labels/p2/a.nii.gz" in reply.json()["error_desc"]
    with parts.catalog.read() as session:
        assert session.scalars(select(Label)).all() == []


def test_without_a_loop_and_without_an_experiment_images_are_given_and_labels_kept(
    annotator: Api, dataset: str, folder: Path, parts: Parts
) -> None:
    notified, saved = _next(annotator, dataset), _next(annotator, dataset)
    path = write_label(folder / "labels" / f"{notified}.nii.gz")
    entry = {"image": notified, "label": f"labels/{notified}.nii.gz"}
    annotator.made(f"/datasets/{dataset}/jobs", action="notify", specs={"added": entry})
    files = {"label": ("x.nii.gz", path.read_bytes())}
    reply = annotator.at("PUT", f"/label/{dataset}/datastore/label?image={saved}", files=files)
    assert reply.status_code == 200
    assert annotator.made(f"/datasets/{dataset}/jobs", action="cacheimage", specs={"image": saved}) == {}

    with parts.catalog.read() as session:
        labels = session.scalars(select(Label)).all()
        keys = {session.get_one(Image, label.image_id).key for label in labels}
    assert [label.state for label in labels] == ["active", "active"]
    assert keys == {notified, saved}
    assert {_next(annotator, dataset) for _ in range(4)} == IMAGES - keys


def test_an_unknown_action_is_named_with_a_near_one(annotator: Api, dataset: str) -> None:
    reply = annotator.call("POST", f"/datasets/{dataset}/jobs", json={"action": "nextimages"})
    assert reply.status_code == 404
    assert "Did you mean 'nextimage'?" in reply.json()["error_desc"]


def test_a_label_that_is_saved_counts_by_itself_and_makes_the_round_due(
    annotator: Api, engineer: Api, dataset: str, experiment: str, loop: str, parts: Parts, tmp_path: Path
) -> None:
    path = write_label(tmp_path / "mine.nii.gz")
    params = '{"label_info": [{"name": "liver", "idx": 1}], "client_id": "anna"}'
    saved = []
    for image in ("p1/a", "p2/a", "p2/a"):
        reply = annotator.at(
            "PUT",
            f"/label/{dataset}/datastore/label?image={image}&tag=final",
            files={"label": ("C:\\scans\\x.nii.gz", path.read_bytes())},
            data={"params": params},
        )
        assert reply.status_code == 200, reply.text
        saved.append(reply.json())
    assert [answer["image"] for answer in saved] == ["p1/a", "p2/a", "p2/a"]
    assert saved[1]["label"] == saved[2]["label"]
    assert _pending(parts, loop) == 2
    rounds = engineer.at("GET", f"/api/teachback/v1/rounds?experiment={experiment}").json()["rounds"]
    assert [(row["round"], row["status"]) for row in rounds] == [(1, "Pending")]
    with parts.catalog.read() as session:
        labels = session.scalars(select(Label)).all()
    assert {(label.tool, tuple(label.annotated or ())) for label in labels} == {("anna", ("liver",))}
    back = annotator.at("GET", f"/label/set/datastore/label?label={saved[0]['label']}")
    assert back.status_code == 200
    assert back.content == path.read_bytes() or back.content[:2] == path.read_bytes()[:2]


def test_a_label_that_does_not_fit_is_kept_with_a_warning_and_does_not_count(
    annotator: Api, dataset: str, loop: str, parts: Parts, tmp_path: Path
) -> None:
    odd = tmp_path / "odd.nii.gz"
    elsewhere = AFFINE + np.array([[0, 0, 0, 500.25]] * 3 + [[0, 0, 0, 0]])
    nib.save(nib.Nifti1Image(np.ones((3, 3, 3), dtype=np.uint8), elsewhere), odd)
    reply = annotator.at(
        "PUT", f"/label/{dataset}/datastore/label?image=p1/a", files={"label": ("x.nii.gz", odd.read_bytes())}
    )
    assert reply.status_code == 200
    assert reply.json()["warnings"]
    assert _pending(parts, loop) == 0


def test_bytes_that_are_no_label_and_images_that_are_not_there_are_refused(annotator: Api, dataset: str) -> None:
    junk = {"label": ("x.nii.gz", b"nothing like a label")}
    bad = annotator.at("PUT", f"/label/{dataset}/datastore/label?image=p1/a", files=junk)
    unknown = annotator.at("PUT", f"/label/{dataset}/datastore/label?image=p9/z", files=junk)
    assert (bad.status_code, unknown.status_code) == (400, 404)
    assert set(bad.json()) == {"detail"}
    missing = annotator.at("PUT", f"/label/{dataset}/datastore/label?image=p1/a")
    assert (missing.status_code, set(missing.json())) == (422, {"detail"})


def test_an_image_comes_as_a_file_that_can_be_read(annotator: Api, dataset: str, folder: Path, tmp_path: Path) -> None:
    reply = annotator.at("GET", "/label/set/datastore/image?image=p2/b")
    assert reply.status_code == 200
    assert 'filename="b.nii"' in reply.headers["content-disposition"]
    fetched = tmp_path / "b.nii"
    fetched.write_bytes(reply.content)
    np.testing.assert_array_equal(nib.load(fetched).get_fdata(), nib.load(folder / "p2" / "b.nii.gz").get_fdata())
    assert annotator.at("GET", f"/label/{dataset}/datastore/image?image=../home/keys").status_code == 404


def test_info_names_the_experiments_as_models(annotator: Api, experiment: str) -> None:
    assert experiment
    for path in ("/label/set/info/", "/label/set/info"):
        said = annotator.at("GET", path).json()
        assert said["models"]["liver and spleen"]["labels"] == {"liver": 1, "spleen": 2}
        assert said["datastore"] == {"total": 6, "completed": 0, "label_tags": {}}
        assert "config" not in said

"""Experiments in the MONAI Cloud dialect."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from configs.states import SlotState
from infra.adapters.catalog import experiments as catalog
from infra.adapters.catalog.tables import Bundle, Experiment, Slot
from infra.adapters.catalog.tables.base import now
from infra.services.learning.bases import listed
from infra.wiring import Parts
from tasks.bundles.catalog import register
from tests.bundles import VISTA3D
from tests.integration.api.conftest import BASE_ID, LABELS, Api, make_experiment
from tests.processes import wait_until

NOBODY = "11111111-2222-4333-8444-555555555555"


def test_base_experiments_are_listed_with_the_others_as_the_guides_read_them(engineer: Api, experiment: str) -> None:
    listed = engineer.call("GET", "/experiments").json()
    bases = [row for row in listed if row["network_arch"] == "monai_segmentation" and not row["base_experiment"]]
    assert [row["id"] for row in bases] == [BASE_ID]
    assert {row["id"] for row in listed} == {BASE_ID, experiment}
    assert bases[0]["public"]
    assert bases[0]["read_only"]
    assert engineer.call("GET", "/experiments:base").json() == bases
    assert [row["id"] for row in engineer.call("GET", "/experiments?user_only=true").json()] == [experiment]
    assert engineer.call("GET", "/experiments?network_arch=!monai_segmentation").json() == []


def test_an_experiment_starts_with_the_bundles_own_weights_published(engineer: Api, dataset: str) -> None:
    made = make_experiment(engineer, dataset)
    assert made["published_seq"] == 1
    assert made["model_params"]["labels"] == LABELS
    assert "annotation" in made["actions"]
    known = engineer.at("GET", f"/api/teachback/v1/models?experiment={made['id']}").json()
    assert [version["published"] for version in known["versions"]] == [True]
    assert known["published_version"] == made["published_version"]


def test_vista3d_is_listed_without_weights_and_says_how_to_fetch_them(
    engineer: Api, parts: Parts, dataset: str
) -> None:
    base = listed(parts, register(parts, str(VISTA3D), by="test"))
    (row,) = [row for row in engineer.call("GET", "/experiments").json() if row["network_arch"] == "monai_vista3d"]
    assert (row["id"], row["base_experiment"], row["model_params"]["labels"]["132"]) == (base, [], "airway")

    wanted = {"name": "my_vista", "network_arch": "monai_vista3d", "base_experiment": [base], "eval_dataset": dataset}
    refused = engineer.call("POST", "/experiments", json=wanted)
    assert refused.status_code == 400
    assert "`teachback bundles pull vista3d`" in refused.text


def test_fetched_weights_keep_their_place_in_the_list_when_the_project_starts_again(
    parts: Parts, tmp_path: Path
) -> None:
    base = listed(parts, register(parts, str(VISTA3D), by="test"))
    fetched = _fetched(parts, tmp_path)
    assert listed(parts, fetched) == base
    assert listed(parts, register(parts, str(VISTA3D), by="test")) == base
    with parts.catalog.read() as session:
        assert catalog.get(session, "", base).bundle_id == fetched.id


def _fetched(parts: Parts, folder: Path) -> Bundle:
    """The same bundle with weights, as a host would find it; nothing is run."""
    with parts.catalog.write() as session:
        (waiting,) = [row for row in session.scalars(select(Bundle)) if row.name == "vista3d"]
        check = waiting.check | {"weights_policy": "file", "has_weights": True}
        kept = {name: getattr(waiting, name) for name in ("name", "version", "description", "labels")}
        row = Bundle(id="f" * 64, tier="C", check=check, source=str(folder), registered_by="test", **kept)
        session.add(row)
        return row


def test_labels_are_the_requests_own_whatever_their_indices(engineer: Api, dataset: str) -> None:
    made = make_experiment(engineer, dataset, model_params={"labels": {"133": "myorgan", "1": "liver"}})
    assert made["model_params"]["labels"] == {"1": "liver", "133": "myorgan"}


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"network_arch": "monai_vista2d"}, "not offered"),
        ({"network_arch": "resnet"}, "Invalid network arch"),
        ({"network_arch": None}, "Invalid network arch"),
        ({"base_experiment": []}, "base_experiment"),
        ({"base_experiment": [NOBODY]}, "Provided base_experiment cannot be added"),
        ({"network_arch": "monai_vista3d"}, "Provided base_experiment cannot be added"),
        ({"eval_dataset": NOBODY}, "Provided eval_dataset cannot be added"),
        ({"model_params": {"labels": {}}}, "Labels cannot be empty"),
        ({"model_params": {"labels": {"1": "liver", "2": "Liver"}}}, "same name"),
        ({"model_params": {"labels": {"1": "left kidney", "2": "left_kidney"}}}, "same name"),
        ({"model_params": {"override": {"bundle_root": "/"}}}, "bundle_root"),
        ({"bundle_url": "http://example.org/b.zip"}, "bundle_url or base_experiment, not both"),
        ({"train_datasets": ["x"]}, "Dataset ID passed is not a valid UUID"),
    ],
)
def test_what_does_not_fit_is_refused_and_leaves_nothing(
    engineer: Api, dataset: str, body: dict[str, Any], said: str
) -> None:
    whole = {"network_arch": "monai_segmentation", "base_experiment": [BASE_ID], "train_datasets": [dataset], **body}
    reply = engineer.call("POST", "/experiments", json=whole)
    assert reply.status_code == 400
    assert said in reply.json()["error_desc"]
    assert engineer.call("GET", "/experiments?user_only=true").json() == []


def test_a_realtime_experiment_whose_server_does_not_come_leaves_nothing_behind(
    engineer: Api, dataset: str, parts: Parts
) -> None:
    body = {
        "network_arch": "monai_segmentation",
        "base_experiment": [BASE_ID],
        "train_datasets": [dataset],
        "realtime_infer": True,
        "realtime_infer_request_timeout": 1,
        "model_params": {"replicas": 2},
    }
    for _ in range(2):  # the second would meet the quota if the first had left its slots
        reply = engineer.call("POST", "/experiments", json=body)
        assert reply.status_code == 400
        assert "was not ready within 1 s" in reply.json()["error_desc"]
    assert engineer.call("GET", "/experiments?user_only=true").json() == []
    with parts.catalog.read() as session:
        assert [slot.desired for slot in session.scalars(select(Slot))] == [False] * 4


def test_deleting_waits_for_the_server_to_stop_so_that_another_may_start(
    engineer: Api, dataset: str, parts: Parts
) -> None:
    experiment = make_experiment(engineer, dataset)["id"]
    with parts.catalog.write() as session:
        held = Slot(org="clinic", experiment_id=experiment, replica=0, epoch=1, state=SlotState.READY, desired=True)
        held.holder, held.lease_until = "a process", session.scalar(select(now() + 600))
        session.add(held)
        session.flush()
        slot_id = held.id

    def drain() -> None:
        """Do what the slot's process does."""
        wait_until(lambda: not _slot(parts, slot_id).desired, "the server to be switched off")
        with parts.catalog.write() as session:
            slot = session.get_one(Slot, slot_id)
            slot.state, slot.holder, slot.lease_until = SlotState.STOPPED, None, None

    with ThreadPoolExecutor(1) as pool:
        drained = pool.submit(drain)
        assert engineer.call("DELETE", f"/experiments/{experiment}").status_code == 200
        assert _slot(parts, slot_id).state == SlotState.STOPPED
        drained.result()


def _slot(parts: Parts, slot_id: str) -> Slot:
    with parts.catalog.read() as session:
        return session.get_one(Slot, slot_id)


def test_the_quota_counts_replicas(engineer: Api, dataset: str, parts: Parts) -> None:
    body = {"network_arch": "monai_segmentation", "base_experiment": [BASE_ID], "train_datasets": [dataset]}
    reply = engineer.call(
        "POST", "/experiments", json={**body, "realtime_infer": True, "model_params": {"replicas": 3}}
    )
    assert reply.status_code == 400
    assert "will exceed the maximum number of GPUs allowed (2)" in reply.json()["error_desc"]
    with parts.catalog.read() as session:
        assert session.scalars(select(Slot)).all() == []


def test_a_patch_that_leaves_realtime_out_leaves_it_on(engineer: Api, experiment: str, parts: Parts) -> None:
    _serve(parts, experiment)
    renamed = engineer.call("PATCH", f"/experiments/{experiment}", json={"name": "renamed"}).json()
    assert (renamed["name"], renamed["realtime_infer"]) == ("renamed", True)
    with parts.catalog.read() as session:
        assert session.scalars(select(Slot)).one().desired


def test_realtime_goes_off_for_good(engineer: Api, experiment: str, parts: Parts) -> None:
    _serve(parts, experiment)
    path = f"/experiments/{experiment}"
    assert engineer.call("PATCH", path, json={"realtime_infer": True}).status_code == 200
    assert engineer.call("PATCH", path, json={"realtime_infer": False}).json()["realtime_infer"] is False
    assert engineer.call("PATCH", path, json={"realtime_infer": False}).status_code == 200
    back = engineer.call("PATCH", path, json={"realtime_infer": True})
    assert back.status_code == 400
    assert back.json()["error_desc"] == "Can only change realtime_infer from True to False."
    with parts.catalog.read() as session:
        assert not session.scalars(select(Slot)).one().desired


def test_patch_changes_only_what_it_names(engineer: Api, experiment: str) -> None:
    path = f"/experiments/{experiment}"
    before = engineer.call("GET", path).json()
    after = engineer.call("PATCH", path, json={"eval_dataset": None, "tags": ["x"], "unknown": 1}).json()
    changed = {name for name in before if before[name] != after[name]}
    assert changed <= {"eval_dataset", "tags", "last_modified"}
    assert (after["eval_dataset"], after["tags"]) == (None, ["x"])
    refused = engineer.call("PATCH", path, json={"network_arch": "monai_vista3d"})
    assert refused.status_code == 400
    assert "Cannot change experiment network_arch" in refused.json()["error_desc"]


def test_a_base_experiment_is_read_only(engineer: Api) -> None:
    for method in ("PATCH", "DELETE"):
        reply = engineer.call(method, f"/experiments/{BASE_ID}", json={"name": "mine"})
        assert reply.status_code == 400
        assert "read-only" in reply.json()["error_desc"]


def test_an_experiment_with_a_running_job_is_not_deleted(engineer: Api, experiment: str) -> None:
    engineer.made(f"/experiments/{experiment}/jobs", action="annotation", specs={"round_size": 1})
    refused = engineer.call("DELETE", f"/experiments/{experiment}")
    assert refused.status_code == 400
    assert refused.json()["error_desc"].startswith("Experiment in use")
    assert engineer.call("POST", f"/experiments/{experiment}:cancel_all_jobs").status_code == 200
    assert engineer.call("DELETE", f"/experiments/{experiment}").status_code == 200
    assert engineer.call("GET", f"/experiments/{experiment}").status_code == 404


def test_own_weights_are_taken_over_by_naming_their_train_job(engineer: Api, experiment: str, dataset: str) -> None:
    body = {"network_arch": "monai_segmentation", "base_experiment": [experiment], "train_datasets": [dataset]}
    without = engineer.call("POST", "/experiments", json=body)
    assert "needs job_id in the request" in without.json()["error_desc"]
    unknown = engineer.call("POST", "/experiments", json={**body, "additional_id_info": NOBODY})
    assert (without.status_code, unknown.status_code) == (400, 400)


def _serve(parts: Parts, experiment: str) -> None:
    """Have the experiment served, as its creation would have."""
    with parts.catalog.write() as session:
        row = session.get_one(Experiment, experiment)
        row.realtime = True
        session.add(Slot(org=row.org, experiment_id=row.id, replica=0))

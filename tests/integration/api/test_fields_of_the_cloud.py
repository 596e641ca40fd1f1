"""What the MONAI Cloud dialect's bodies may say besides, what it says of an action, and how its lists are filtered."""

from pathlib import Path
from typing import Any

import yaml

from tests.integration.api.conftest import BASE_ID, Api, make_experiment

WRAPPED = {"Accept": "application/vnd.teachback.wrapped+json"}
ECHOED: dict[str, Any] = {
    "checkpoint_choose_method": "from_epoch_number",
    "checkpoint_epoch_number": {"latest": 3},
    "automl_settings": {"automl_enabled": False},
    "tensorboard_enabled": True,
    "experiment_actions": [],
    "retry_experiment_id": BASE_ID,
    "metric": "kpi",
    "model_description": "what it is for",
    "version": "2.1.0",
}


def test_fields_that_nothing_here_reads_are_taken_and_shown_again(engineer: Api, folder: Path) -> None:
    said = {"url": "https://example.org/x", "cloud_file_path": "a/b", "use_for": ["training"], "version": "1.2.3"}
    hidden = {"docker_env_vars": {"A": "b"}, "status": "starting", "filters": "Modality=MR"}
    dataset = engineer.made("/datasets", client_url=str(folder), **said, **hidden)
    assert {name: dataset[name] for name in said} == said
    assert dataset.keys() & {"docker_env_vars", "filters", "client_id", "client_secret"} == set()

    more = {"docker_env_vars": {"A": "b"}, "encryption_key": "tlt", "public": True, "surprise": 1}
    made = make_experiment(engineer, dataset["id"], calibration_dataset=dataset["id"], **ECHOED, **more)
    assert {name: made[name] for name in ECHOED} == ECHOED
    assert (made["calibration_dataset"], made["public"]) == (dataset["id"], False)
    assert made.keys() & {"docker_env_vars", "encryption_key", "surprise"} == set()
    tagged = engineer.call("PATCH", f"/experiments/{made['id']}", json={"tags": ["CT", "ct", "Liver"]}).json()
    assert (tagged["tags"], tagged["checkpoint_choose_method"]) == (["ct", "liver"], "from_epoch_number")


def test_what_is_fixed_says_so_in_these_words(engineer: Api, dataset: str, experiment: str) -> None:
    said: dict[str, dict[str, Any]] = {
        f"/datasets/{dataset}": {"type": "object_detection", "format": "kitti"},
        f"/experiments/{experiment}": {
            "network_arch": "monai_custom",
            "experiment_params": {"a": 1},
            "base_experiment_metadata": {"a": 1},
            "bundle_url": "https://example.org/bundle.zip",
        },
    }
    for method in ("PATCH", "PUT"):
        for path, fields in said.items():
            for name, value in fields.items():
                reply = engineer.call(method, path, json={name: value, "name": "other"})
                words = f"Cannot change {path.split('/')[1].removesuffix('s')} {name}"
                assert (reply.status_code, reply.json()["error_desc"]) == (400, words)
                assert engineer.call("GET", path).json()["name"] != "other"


def test_a_whole_experiment_can_be_put_back_and_another_base_cannot(engineer: Api, experiment: str) -> None:
    path = f"/experiments/{experiment}"
    shown = engineer.call("GET", path).json()
    assert engineer.call("PUT", path, json={**shown, "description": "new"}).json()["description"] == "new"
    reply = engineer.call("PATCH", path, json={"base_experiment": [experiment]})
    assert (reply.status_code, "Cannot change experiment base_experiment" in reply.text) == (400, True)


def test_clients_that_feel_their_way_find_what_there_is(engineer: Api, annotator: Api) -> None:
    assert engineer.at("GET", "/api").json() == ["/api/v1"]
    assert "/api/v1/orgs" in engineer.at("GET", "/api/v1").json()
    refused = engineer.at("GET", "/api/v1/orgs")
    assert (refused.status_code, refused.json()["error_code"]) == (403, 403)
    assert f"/api/v1/orgs/{engineer.org}/experiments" in annotator.call("GET", "").json()
    assert yaml.safe_load(engineer.at("GET", "/openapi.yaml").text) == engineer.at("GET", "/openapi.json").json()
    assert set(engineer.at("GET", "/version").json()) == {"version"}
    for path in ("/swagger", "/redoc"):
        assert engineer.client.get(path).url.path == "/docs"


def test_who_asks_who_they_are_may_show_their_key_as_a_password(engineer: Api) -> None:
    def shown(user: str, key: str, path: str = "/api/v1/auth") -> int:
        return int(engineer.client.get(path, auth=(user, key)).status_code)

    assert shown("$oauthtoken", engineer.secret) == 200
    assert {shown("ann", engineer.secret), shown("$oauthtoken", "no"), shown("$oauthtoken", "")} == {401}
    assert shown("$oauthtoken", engineer.secret, f"/api/v1/orgs/{engineer.org}/datasets") == 401
    assert engineer.client.get("/api/v1/auth", headers={"Authorization": b"Basic \xff="}).status_code == 401


def test_every_action_has_a_schema(engineer: Api, dataset: str, experiment: str) -> None:
    for action in engineer.call("GET", f"/datasets/{dataset}").json()["actions"]:
        assert "default" in engineer.call("GET", f"/datasets/{dataset}/specs/{action}/schema").json()
    for action in engineer.call("GET", f"/experiments/{experiment}").json()["actions"]:
        shown = [engineer.call("GET", f"/experiments/{experiment}/specs/{action}/schema{end}") for end in ("", ":base")]
        inference = {"image": "", "dataset_id": "", "bundle_params": {}}
        expected = inference if action == "inference" else {"default": {}}
        assert [reply.json() for reply in shown] == [expected, expected]
    assert engineer.call("GET", f"/experiments/{experiment}/specs/fly/schema").status_code == 404
    formats = engineer.call("GET", "/datasets:get_formats?dataset_type=semantic_segmentation").json()
    assert formats == {"dataset_formats": ["monai"], "accepted_dataset_intents": []}


def test_lists_are_filtered_negated_sorted_and_cut(engineer: Api, dataset: str) -> None:
    for name, version, tags in (("b", "1.0.0", ["ct"]), ("a", "2.0.0", []), ("a", "1.0.0", ["ct", "mr"])):
        make_experiment(engineer, dataset, name=name, version=version, tags=tags)

    def names(query: str) -> list[str]:
        found = engineer.call("GET", f"/experiments?user_only=True&{query}")
        assert found.status_code == 200, found.text
        return [f"{row['name']}:{row['version']}" for row in found.json()]

    newest = ["a:1.0.0", "a:2.0.0", "b:1.0.0"]
    assert names("") == names("sort=date-descending") == newest
    assert names("sort=date-ascending") == newest[::-1]
    assert names("sort=name-ascending") == ["a:1.0.0", "a:2.0.0", "b:1.0.0"]
    assert names("sort=name-descending") == ["b:1.0.0", "a:2.0.0", "a:1.0.0"]
    assert names("name=a&sort=name-ascending") == ["a:1.0.0", "a:2.0.0"]
    assert names("name=!a") == ["b:1.0.0"]
    assert names("tag=ct") == ["a:1.0.0", "b:1.0.0"]
    assert names("tag=!mr") == ["a:2.0.0", "b:1.0.0"]
    assert names("type=medical") == newest
    assert names("type=!medical") == names("type=vision") == names("network_arch=!monai_segmentation") == []
    assert names("skip=1&size=1") == ["a:2.0.0"]
    assert names("skip=2") == ["b:1.0.0"]
    assert engineer.call("GET", "/experiments:get_tags").json() == {"tags": ["ct", "mr"]}
    assert engineer.call("GET", "/datasets?type=semantic_segmentation&format=!monai").json() == []
    assert [row["id"] for row in engineer.call("GET", "/datasets?type=!object_detection").json()] == [dataset]
    bases = engineer.call("GET", "/experiments:base").json()
    assert bases == engineer.call("GET", "/experiments?read_only=true").json()
    assert len(engineer.call("GET", "/experiments?read_only=True").json()) == len(bases) + 3


def test_a_wrapped_page_says_where_it_stands_where_both_ends_were_said(engineer: Api, dataset: str) -> None:
    for _ in range(3):
        make_experiment(engineer, dataset)
    for path, key in (("/experiments", "experiments"), ("/datasets", "datasets"), ("/experiments/*/jobs", "jobs")):
        total = int(engineer.call("GET", path).headers["X-Pagination-Total"])
        page = engineer.call("GET", f"{path}?skip=2&size=2", headers=WRAPPED).json()
        said = {"total_records": total, "total_pages": -(-total // 2), "page_size": 2, "page_index": 1}
        assert page["pagination_info"] == said
        assert len(page[key]) == max(0, min(2, total - 2))
        for query in ("size=2", "skip=2", ""):
            assert engineer.call("GET", f"{path}?{query}", headers=WRAPPED).json()["pagination_info"] is None

"""Errors of the MONAI Cloud dialect, shape by shape and word by word."""

from typing import Any

import pytest

from tests.integration.api.conftest import BASE_ID, Api

NOBODY = "11111111-2222-4333-8444-555555555555"


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "said", "code"),
    [
        ("GET", f"/datasets/{NOBODY}", None, 404, "Dataset not found", 404),
        ("GET", f"/experiments/{NOBODY}", None, 404, "Experiment not found", 404),
        ("GET", f"/workspaces/{NOBODY}", None, 404, "Workspace not found", 404),
        ("GET", f"/experiments/{BASE_ID}/jobs/{NOBODY}", None, 404, "Job not found", 404),
        ("PATCH", f"/experiments/{NOBODY}", {}, 404, "Experiment not found", 404),
        ("DELETE", f"/datasets/{NOBODY}", None, 404, "Dataset not found", 404),
        ("GET", "/datasets/7", None, 400, "Dataset ID passed is not a valid UUID", 1),
        ("GET", "/experiments/7", None, 400, "Experiment ID passed is not a valid UUID", 1),
        ("GET", "/workspaces/7", None, 400, "Workspace ID passed is not a valid UUID", 1),
        ("GET", f"/experiments/{BASE_ID}/jobs/7", None, 400, "Job ID passed is not a valid UUID", 1),
        ("POST", f"/experiments/{BASE_ID}/jobs", {}, 400, "Action is required to run job", 400),
        (
            "POST",
            f"/experiments/{BASE_ID}/jobs",
            {"action": "train", "specs": {"cluster": "x"}},
            400,
            "cluster is an invalid spec",
            3,
        ),
        ("POST", f"/experiments/{BASE_ID}/jobs", {"action": "fly"}, 404, "Action not found", 404),
    ],
)
def test_a_handlers_error_has_a_description_and_a_code(
    engineer: Api, method: str, path: str, body: Any, status: int, said: str, code: int
) -> None:
    reply = engineer.call(method, path, json=body)
    assert (reply.status_code, reply.json()) == (status, {"error_desc": said, "error_code": code})


@pytest.mark.parametrize(
    ("path", "body", "said"),
    [
        ("/datasets", {"type": "foo"}, "{'type': ['Invalid enum member foo']}"),
        (
            "/datasets",
            {"name": 7, "shared": "x"},
            "{'name': ['Not a valid string.'], 'shared': ['Not a valid boolean.']}",
        ),
        (
            "/experiments",
            {"model_params": {"replicas": "x"}},
            "{'model_params': {'replicas': ['Not a valid integer.']}}",
        ),
        ("/experiments", {"train_datasets": "x"}, "{'train_datasets': ['Not a valid list.']}"),
        (f"/experiments/{BASE_ID}/jobs", {"action": "train", "surprise": 1}, "{'surprise': ['Unknown field.']}"),
        ("/workspaces", {"cloud_type": "huggingface", "cloud_specific_details": {}}, None),
    ],
)
def test_a_field_that_cannot_be_read_is_said_in_a_dict_and_has_no_code(
    engineer: Api, path: str, body: Any, said: str | None
) -> None:
    reply = engineer.call("POST", path, json=body)
    assert reply.status_code == 400
    assert list(reply.json()) == ["error_desc"]
    assert said is None or reply.json()["error_desc"] == said


@pytest.mark.parametrize(
    ("method", "path", "content", "code", "name"),
    [
        ("GET", "/nowhere", None, 404, "Not Found"),
        ("DELETE", "/datasets", None, 405, "Method Not Allowed"),
        ("POST", "/datasets", b"{", 400, "Bad Request"),
        ("POST", "/datasets", b'{"a":' * 5000 + b"1" + b"}" * 5000, 400, "Bad Request"),
    ],
)
def test_what_reaches_no_handler_is_told_as_frameworks_tell_it(
    engineer: Api, method: str, path: str, content: bytes | None, code: int, name: str
) -> None:
    reply = engineer.call(method, path, content=content)
    assert (reply.status_code, set(reply.json())) == (code, {"code", "name", "description"})
    assert (reply.json()["code"], reply.json()["name"]) == (code, name)


PAGES = ("size=0", "size=-1", "size=99999999999", "skip=-1", "skip=1e3", "size=ten", "sort=up")
LISTS = ("/datasets", "/experiments", "/experiments:base", "/workspaces", "/experiments/*/jobs")


def test_a_page_that_is_none_is_400_and_one_behind_the_end_is_empty(engineer: Api) -> None:
    asked = [f"{path}?{query}" for path in LISTS for query in PAGES]
    assert {path: engineer.call("GET", path).status_code for path in asked} == dict.fromkeys(asked, 400)
    behind = [f"{path}?skip=2147483648&size=10000" for path in LISTS]
    assert {path: engineer.call("GET", path).json() for path in behind} == {path: [] for path in behind}


@pytest.mark.parametrize(
    ("specs", "said"),
    [
        ([1], "specs are no JSON object"),
        ({"surprise": []}, "{'surprise': ['Unknown field.']}"),
        ({"added": "x"}, "{'added': ['Not a valid list.']}"),
        ({"added": {"image": "p1/a"}}, "{'added': {0: {'label': ['Missing data for required field.']}}}"),
        ({"removed": [{"image": "p1/a", "label": ""}]}, "{'removed': {0: {'label': ['String should have"),
        ({"updated": [7]}, "{'updated': {0: ["),
    ],
)
def test_a_notice_that_cannot_be_read_is_not_found_and_says_where(
    engineer: Api, dataset: str, specs: Any, said: str
) -> None:
    reply = engineer.call("POST", f"/datasets/{dataset}/jobs", json={"action": "notify", "specs": specs})
    assert (reply.status_code, reply.json()["error_code"]) == (404, 404)
    assert said in reply.json()["error_desc"]

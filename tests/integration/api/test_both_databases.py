"""The annotation guide's walk, but for inference, with the catalog on each database in turn."""

import json
from pathlib import Path

import pytest

from configs.settings import Settings
from tests.integration.api.conftest import Api, write_label


@pytest.fixture
def settings(tmp_path: Path, catalog_url: str) -> Settings:
    return Settings(home=tmp_path / "home", catalog_url=catalog_url)


def test_the_guides_walk(engineer: Api, folder: Path) -> None:
    login = engineer.client.post("/api/v1/login", content=json.dumps({"ngc_api_key": engineer.secret})).json()
    base, headers = f"/api/v1/users/{login['user_id']}", {"Authorization": f"Bearer {login['token']}"}

    def call(method: str, path: str, status: int, body: object = None) -> object:
        reply = engineer.client.request(method, base + path, json=body, headers=headers)
        assert reply.status_code == status, reply.text
        return reply.json()

    def made(path: str, body: object) -> str:
        said = call("POST", path, 201, body)
        assert isinstance(said, dict)
        return str(said["id"])

    dataset = made("/datasets", {"name": "mydataset", "format": "monai", "client_url": str(folder)})
    [small] = engineer.call("GET", "/experiments:base").json()
    names = ("train_datasets", "eval_dataset", "inference_dataset")
    uses = dict(zip(names, ([dataset], dataset, dataset), strict=True))
    wanted = {"name": "my_vista", "network_arch": "monai_segmentation", "base_experiment": [small["id"]], **uses}
    experiment = made("/experiments", wanted)
    specs = {"round_size": 1, "stop_criteria": {"max_rounds": 2}, "train_spec": {"epochs": 2}}
    loop = call("POST", f"/experiments/{experiment}/jobs", 201, {"action": "annotation", "specs": specs})
    jobs = f"/experiments/{experiment}/jobs"
    image = call("POST", f"/datasets/{dataset}/jobs", 201, {"action": "nextimage"})
    assert isinstance(image, dict)
    write_label(folder / "labels" / f"{image['image']}.nii.gz")
    entry = {"image": image["image"], "label": f"labels/{image['image']}.nii.gz"}
    for _ in range(2):
        call("POST", f"/datasets/{dataset}/jobs", 201, {"action": "notify", "specs": {"added": entry}})
    listed = call("GET", jobs, 200)
    assert isinstance(listed, list)
    assert sorted((job["action"], job["status"], job["parent_id"]) for job in listed) == [
        ("annotation", "Running", None),
        ("train", "Pending", loop),
    ]
    call("POST", f"{jobs}/{loop}:cancel", 200)
    assert {job["status"] for job in engineer.call("GET", jobs).json()} == {"Canceled"}
    call("PATCH", f"/experiments/{experiment}", 200, {"realtime_infer": False})
    call("DELETE", f"/experiments/{experiment}", 200)
    call("DELETE", f"/datasets/{dataset}", 200)
    assert engineer.at("GET", "/api/teachback/v1/status").json()["counts"]["datasets"] == 0

"""Workspaces on each object store: made, used, changed, deleted; and what a job leaves there."""

import io
import json
import shutil
import socket
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
from sqlalchemy import select, update

from configs.settings import Settings
from configs.states import JobStatus
from infra.adapters.catalog.outbox import OutboxKind
from infra.adapters.catalog.tables import Job, ModelVersion, Outbox, VaultValue, Workspace
from infra.adapters.catalog.workspaces import queue_results
from infra.wiring import Parts
from tasks.delivery.dispatch import RESULTS, deliver_due
from tasks.results.kept import bring_back
from tests.fixtures_objects import AZURE_ACCOUNT, S3_KEY, S3_SECRET, Bucket, connection_string
from tests.integration.api.conftest import BASE_ID, Api, make_experiment
from tests.integration.api.ended import MADE, WEIGHTS, trained

NOBODY = "11111111-2222-4333-8444-555555555555"
CLOUDS = {"s3": "aws", "azure": "azure", "gcs": "gcp"}


@pytest.fixture
def settings(tmp_path: Path, sqlite_url: str, bucket: Bucket) -> Settings:
    plain = Settings(home=tmp_path / "home", catalog_url=sqlite_url, realtime_quota=2)
    return plain.model_copy(update=bucket.settings)


def details(bucket: Bucket) -> dict[str, str]:
    """What opens the bucket, as this dialect says it."""
    keys = {
        "s3": {"access_key": S3_KEY, "secret_key": S3_SECRET, "cloud_region": "us-east-1"},
        "azure": {"account_name": AZURE_ACCOUNT, "access_key": connection_string(bucket.endpoint)},
        "gcs": {},
    }
    return {**keys[bucket.kind], "cloud_bucket_name": f"{bucket.name}/{bucket.folder}"}


def body(bucket: Bucket) -> dict[str, Any]:
    return {"name": "ours", "cloud_type": CLOUDS[bucket.kind], "cloud_specific_details": details(bucket)}


def left_in(bucket: Bucket) -> set[str]:
    """List the objects; SeaweedFS lists a folder that was emptied as one."""
    return bucket.keys() - {bucket.folder}


def finished_batch(parts: Parts, experiment: str, dataset: str, predictions: dict[str, bytes]) -> str:
    """Leave what a batch leaves when it is done: its files, the list of them, and their way to the workspace."""
    with parts.catalog.write() as session:
        job = Job(
            org="clinic",
            experiment_id=experiment,
            dataset_id=dataset,
            action="batchinfer",
            status=JobStatus.PENDING,
            spec={"dataset_id": dataset},
        )
        session.add(job)
        session.flush()
        folder = parts.settings.home / "predictions" / job.id
        lines = [{"image": name, "file": name, "version": "v", "labels": {}} for name in predictions]
        for name, content in predictions.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
        (folder / f"{job.id}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        job.status = JobStatus.RUNNING
        job.status = JobStatus.DONE
        queue_results(session, job)
        return job.id


def test_a_workspace_is_made_listed_renamed_and_deleted_and_its_details_never_come_back(
    engineer: Api, annotator: Api, bucket: Bucket, parts: Parts
) -> None:
    made = engineer.call("POST", "/workspaces", json=body(bucket))
    assert made.status_code == 201, made.text
    at = f"/workspaces/{made.json()['id']}"
    assert set(made.json()) == {"id", "created_on", "last_modified", "name", "cloud_type"}
    assert annotator.call("GET", "/workspaces").json() == [made.json()]
    wrapped = {"Accept": "application/vnd.teachback.wrapped+json"}
    assert annotator.call("GET", "/workspaces", headers=wrapped).json()["workspaces"] == [made.json()]
    renamed = engineer.call("PATCH", at, json={"name": "theirs"}).json()
    assert (renamed["name"], renamed["cloud_type"]) == ("theirs", CLOUDS[bucket.kind])
    assert engineer.call("PUT", at, json={"cloud_specific_details": details(bucket)}).status_code == 200
    with parts.catalog.read() as session:
        kept = str(session.scalars(select(Workspace)).one().spec)
    secret = details(bucket).get("secret_key") or details(bucket).get("access_key") or "no secret"
    assert not any(secret in text for text in (made.text, engineer.call("GET", at).text, kept))
    assert left_in(bucket) == set(), "what was written to try it is gone again"

    assert engineer.call("DELETE", at).status_code == 200
    assert engineer.call("GET", at).status_code == 404
    assert engineer.call("GET", "/workspaces").json() == []
    with parts.catalog.read() as session:
        assert session.scalars(select(VaultValue)).all() == []


def test_a_place_that_does_not_open_is_refused_by_its_reason_and_makes_nothing(engineer: Api, bucket: Bucket) -> None:
    wrong = {
        "s3": {"access_key": "nobody", "secret_key": "no such secret"},
        "azure": {"access_key": connection_string(bucket.endpoint, "bm8gc3VjaCBzZWNyZXQ=")},
        "gcs": {"secret_key": "no such secret"},
    }
    said = {"s3": "refuses the credentials", "azure": "refuses the credentials", "gcs": "service account's JSON"}
    cases = [
        (wrong[bucket.kind], said[bucket.kind]),
        ({"cloud_bucket_name": f"no-bucket-{uuid4().hex[:8]}"}, "There is no bucket or container of this name"),
        ({"cloud_bucket_name": f"{bucket.name}/../other"}, "leads out of its bucket"),
        ({"cloud_bucket_name": "?"}, "cloud_bucket_name"),
    ]
    for change, reason in cases:
        sent = body(bucket) | {"cloud_specific_details": details(bucket) | change}
        refused = engineer.call("POST", "/workspaces", json=sent)
        assert refused.status_code == 400, refused.text
        assert reason in refused.json()["error_desc"]
        assert "such secret" not in refused.text
    assert engineer.call("GET", "/workspaces").json() == []


def test_a_workspace_that_is_used_is_not_deleted_and_names_its_data_sets(
    engineer: Api, bucket: Bucket, folder: Path
) -> None:
    workspace = engineer.made("/workspaces", **body(bucket))["id"]
    dataset = engineer.made("/datasets", client_url=str(folder), workspace=workspace)
    experiment = make_experiment(engineer, dataset["id"], workspace=workspace)
    assert (dataset["workspace"], experiment["workspace"]) == (workspace, workspace)
    named = engineer.call("GET", f"/workspaces/{workspace}:get_datasets").json()
    assert [row["id"] for row in named] == [dataset["id"]]

    for path in (f"/experiments/{experiment['id']}", f"/datasets/{dataset['id']}"):
        refused = engineer.call("DELETE", f"/workspaces/{workspace}")
        assert refused.status_code == 400
        assert refused.json()["error_desc"].startswith("Workspace in use")
        assert engineer.call("PATCH", path, json={"name": "renamed"}).json()["workspace"] == workspace
        assert engineer.call("PATCH", path, json={"workspace": None}).json()["workspace"] is None
    assert engineer.call("DELETE", f"/workspaces/{workspace}").status_code == 200
    gone = engineer.call("POST", "/datasets", json={"client_url": str(folder), "workspace": workspace})
    assert gone.status_code == 400


def test_results_are_also_written_where_cloud_details_say(
    engineer: Api, bucket: Bucket, folder: Path, parts: Parts
) -> None:
    cloud = {key: value for key, value in body(bucket).items() if key != "name"}
    dataset = engineer.made("/datasets", client_url=str(folder), cloud_details=cloud)
    experiment = make_experiment(engineer, dataset["id"])["id"]
    job = finished_batch(parts, experiment, dataset["id"], {"p1/a.nii.gz": b"one", "b.nii.gz": b"two" * 3_000_000})

    assert deliver_due(parts, RESULTS) == 1

    written = {f"results/{job}/{name}" for name in ("p1/a.nii.gz", "b.nii.gz", f"{job}.jsonl")}
    assert bucket.keys() == written
    read = bucket.bare()
    assert read.cat_file(f"{bucket.name}/{bucket.folder}/results/{job}/b.nii.gz") == b"two" * 3_000_000
    assert deliver_due(parts, RESULTS) == 0


def test_results_that_this_machine_has_lost_come_from_the_workspace(
    engineer: Api, bucket: Bucket, dataset: str, parts: Parts
) -> None:
    cloud = {key: value for key, value in body(bucket).items() if key != "name"}
    experiment = make_experiment(engineer, dataset, cloud_details=cloud)["id"]
    made = {"p1/a.nii.gz": b"one", "b ä.nii.gz": b"two" * 700_000}
    job = finished_batch(parts, experiment, dataset, made)
    assert deliver_due(parts, RESULTS) == 1
    (parts.settings.home / "predictions" / job / "p1" / "a.nii.gz").unlink()
    path = f"/experiments/{experiment}/jobs/{job}"
    whole = engineer.call("GET", f"{path}:list_files").json()

    shutil.rmtree(parts.settings.home / "predictions")
    engineer.call("PATCH", f"/experiments/{experiment}", json={"workspace": None})

    assert whole == engineer.call("GET", f"{path}:list_files").json() == sorted([*made, f"{job}.jsonl"])
    archive = engineer.call("GET", f"{path}:download")
    with tarfile.open(fileobj=io.BytesIO(archive.content), mode="r:gz") as opened:
        found = {member.name: opened.extractfile(member) for member in opened.getmembers()}
        assert {name: file.read() for name, file in found.items() if file and name.endswith(".gz")} == {
            f"{job}/{name}": content for name, content in made.items()
        }
    one = {"file_lists": "b ä.nii.gz", "tar_files": "false"}
    assert engineer.call("GET", f"{path}:download_selective_files", params=one).content == made["b ä.nii.gz"]
    assert [*(parts.settings.home / "work").glob("result-*")] == []


@pytest.mark.parametrize("bucket", ["s3"], indirect=True)
def test_weights_that_this_machine_has_lost_are_brought_back_from_the_workspace(
    engineer: Api, bucket: Bucket, dataset: str, parts: Parts
) -> None:
    cloud = {key: value for key, value in body(bucket).items() if key != "name"}
    experiment = make_experiment(engineer, dataset, cloud_details=cloud)["id"]
    job = trained(parts, experiment)
    with parts.catalog.write() as session:
        queue_results(session, session.get_one(Job, job))
    assert deliver_due(parts, RESULTS) == 1
    with parts.catalog.read() as session:
        [weights] = session.scalars(select(ModelVersion.weights).where(ModelVersion.job_id == job))
    assert weights is not None
    assert parts.blobs.delete(weights)
    path = f"/experiments/{experiment}/jobs/{job}"

    assert engineer.call("GET", f"{path}:list_files").json() == sorted(MADE)
    one = {"best_model": "true", "tar_files": "false"}
    assert engineer.call("GET", f"{path}:download_selective_files", params=one).content == WEIGHTS
    with parts.catalog.read() as session:
        bring_back(parts, session.get_one(Job, job), weights)
    assert parts.blobs.read_bytes(weights) == WEIGHTS


@pytest.mark.parametrize("bucket", ["s3"], indirect=True)
def test_results_that_meet_an_outage_wait_for_its_end(
    engineer: Api, bucket: Bucket, dataset: str, parts: Parts
) -> None:
    with forwarder(bucket.endpoint) as forwarded:
        there = details(bucket) | {"endpoint_url": forwarded.address}
        place = {"cloud_type": "self_hosted", "cloud_specific_details": there}
        experiment = make_experiment(engineer, dataset, cloud_details=place)
        forwarded.close()
        job = finished_batch(parts, experiment["id"], dataset, {"a.nii.gz": b"one"})

        assert deliver_due(parts, RESULTS) == 0
        assert left_in(bucket) == set()
        refused = engineer.call("DELETE", f"/workspaces/{experiment['workspace']}")
        assert "results that are still being written" in refused.json()["error_desc"]

        forwarded.open()
        with parts.catalog.write() as session:
            session.execute(update(Outbox).where(Outbox.kind == OutboxKind.RESULTS).values(due_at=0))
        assert deliver_due(parts, RESULTS) == 1
    assert f"results/{job}/a.nii.gz" in left_in(bucket)


@pytest.mark.parametrize("bucket", ["s3"], indirect=True)
def test_a_place_that_was_named_for_an_experiment_whose_server_does_not_start_goes_with_it(
    engineer: Api, bucket: Bucket, dataset: str
) -> None:
    cloud = {key: value for key, value in body(bucket).items() if key != "name"}
    asked = {
        "network_arch": "monai_segmentation",
        "base_experiment": [BASE_ID],
        "train_datasets": [dataset],
        "realtime_infer": True,
        "realtime_infer_request_timeout": 1,
        "cloud_details": cloud,
    }

    refused = engineer.call("POST", "/experiments", json=asked)

    assert (refused.status_code, "not ready within 1 s" in refused.text) == (400, True)
    assert engineer.call("GET", "/workspaces").json() == []


class Forwarder:
    """A port that leads to another one, as long as it is open."""

    def __init__(self, target: str) -> None:
        self._target = urlsplit(target)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._port = self._listener.getsockname()[1]
        self._ends: list[socket.socket] = []
        self._accept()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def open(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", self._port))
        self._accept()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for end in self._ends:
            end.close()

    def _accept(self) -> None:
        Thread(target=self._run, args=(self._listener,), daemon=True).start()

    def _run(self, listener: socket.socket) -> None:
        while True:
            try:
                caller, _ = listener.accept()
            except OSError:
                return
            target = socket.create_connection((self._target.hostname, self._target.port))
            self._ends += [caller, target]
            for pair in ((caller, target), (target, caller)):
                Thread(target=_pump, args=pair, daemon=True).start()


def _pump(source: socket.socket, target: socket.socket) -> None:
    try:
        while block := source.recv(65536):
            target.sendall(block)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        return


@contextmanager
def forwarder(target: str) -> Iterator[Forwarder]:
    made = Forwarder(target)
    try:
        yield made
    finally:
        made.close()

"""The MONAI Label dialect's further routes: batches, models, logs, a data set as a zip, and viewers' DICOMweb calls."""

import io
import json
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import urlsplit

import pytest
from sqlalchemy import update

from configs.states import JobStatus
from infra.adapters.catalog.tables import Dataset, Experiment, Image, Job, ModelVersion
from infra.services.callers import Role
from infra.wiring import Parts
from tasks.publishing.publish import publish_by_person
from tests.integration.api.conftest import Api, write_label

NAME = "liver and spleen"
STUDY, MINE, OTHERS = "1.2.3", "1.2.3.1", "1.2.3.2"


def _published(parts: Parts, experiment: str, content: bytes) -> str:
    """Publish a version with these weights; returns its id."""
    with parts.catalog.write() as session:
        row = session.get_one(Experiment, experiment)
        version = ModelVersion(
            experiment_id=row.id,
            number=row.published_seq + 1,
            bundle_id=row.bundle_id,
            weights=parts.blobs.put_bytes(content),
        )
        session.add(version)
        session.flush()
        publish_by_person(session, row.id, version.id, expected=row.published_version, actor="test", reason="test")
        return version.id


def test_a_models_weights_go_out_and_are_taken_back_with_their_history(
    engineer: Api, annotator: Api, experiment: str, parts: Parts
) -> None:
    assert "NOT Found" in engineer.at("GET", f"/model/{NAME}").json()["detail"]
    first, second = (_published(parts, experiment, content) for content in (b"one", b"two"))
    sent = engineer.at("GET", f"/label/set/model/{NAME}")
    assert (sent.content, "safetensors" in sent.headers["content-disposition"]) == (b"two", True)
    info = engineer.at("GET", f"/model/info/{NAME}").json()
    assert info["checksum"].startswith("SHA256:")
    assert annotator.at("GET", f"/model/{NAME}").status_code == 403
    assert engineer.at("DELETE", f"/model/{NAME}").json() == {}
    shown = engineer.at("GET", f"/api/teachback/v1/models?experiment={experiment}").json()
    assert shown["published_version"] == first
    assert second in {row["id"] for row in shown["versions"]}


def test_a_batch_is_one_of_the_other_dialects_jobs(engineer: Api, experiment: str, parts: Parts) -> None:
    at = "/batch/infer"
    assert engineer.at("GET", at).json()["detail"] == "No Batch_infer Tasks Found"
    assert engineer.at("POST", f"{at}/livr").status_code == 404
    options = {"device": "cuda", "multi_gpu": True, "gpus": "all", "save_label": True, "max_workers": 1}
    task = engineer.at("POST", f"{at}/{NAME}?images=unlabeled", json=options).json()
    assert task["status"] == "SUBMITTED"
    [job] = engineer.call("GET", f"/experiments/{experiment}/jobs").json()
    assert (job["id"], job["action"]) == (task["id"], "batchinfer")
    assert engineer.at("POST", f"{at}/{NAME}").status_code == 409
    with parts.catalog.write() as session:
        session.execute(update(Job).values(status=JobStatus.RUNNING))
    assert engineer.at("GET", f"{at}/?check_if_running=true").json()["status"] == "RUNNING"
    assert engineer.at("DELETE", at).json()["id"] == task["id"]
    assert engineer.at("POST", f"{at}/{NAME}?images=some").status_code == 422


def test_the_labelled_cases_come_as_a_zip(engineer: Api, dataset: str, folder: Path, tmp_path: Path) -> None:
    at = f"/label/{dataset}/datastore"
    assert engineer.at("GET", f"{at}/dataset").status_code == 400
    for image in ("p1/a", "p1/b", "p2/a"):
        with write_label(tmp_path / "label.nii.gz").open("rb") as label:
            assert engineer.at("PUT", f"{at}/label?image={image}", files={"label": label}).status_code == 200
    packed = zipfile.ZipFile(io.BytesIO(engineer.at("GET", f"{at}/dataset?limit_cases=2").content))
    told = json.loads(packed.read("metadata.json"))
    assert ([case["id"] for case in told["cases"]], told["left_out"]) == (["p1/a", "p1/b"], [])
    assert {name.partition("/")[0] for name in packed.namelist()} == {"image", "label", "metadata.json"}
    assert packed.read(told["cases"][0]["label"]) == (tmp_path / "label.nii.gz").read_bytes()
    assert folder.joinpath("p1/a.nii.gz").exists()


def test_a_deleted_image_is_hidden_and_stays_in_its_store(
    people_of: dict[Role, Api], dataset: str, folder: Path
) -> None:
    at = f"/label/{dataset}/datastore"
    assert people_of[Role.ANNOTATOR].at("DELETE", f"{at}/image?id=p1/a").status_code == 403
    for path in ("/image", "", "/"):
        assert people_of[Role.ENGINEER].at("DELETE", f"{at}{path}?id=p1/a", follow_redirects=False).json() == {}
    given = people_of[Role.ANNOTATOR].at("POST", f"/label/{dataset}/activelearning/first", json={}).json()
    assert given["id"] == "p1/b"
    assert (folder / "p1/a.nii.gz").exists()
    assert people_of[Role.ENGINEER].at("DELETE", f"{at}/image?id=nowhere").status_code == 404


def test_the_servers_own_pages(people_of: dict[Role, Api], parts: Parts) -> None:
    logs = parts.settings.home / "logs"
    logs.mkdir(parents=True)
    (logs / "api.log").write_text("".join(f"line {number} <x>\n" for number in range(400)))
    admin = people_of[Role.ADMIN]
    for path in ("/logs", "/logs/"):
        text = admin.at("GET", f"{path}?text=true&lines=2", follow_redirects=False).text
        assert text == "line 398 <x>\nline 399 <x>\n"
    page = admin.at("GET", "/logs/?refresh=5")
    assert (page.headers["content-type"].partition(";")[0], "&lt;x&gt;" in page.text) == ("text/html", True)
    assert admin.at("GET", "/logs/gpu").status_code in {200, 404, 502}
    viewer = admin.client.get("/ohif/viewer/x.js")
    assert (viewer.status_code, "/t/{annotator's key}/" in viewer.json()["detail"]) == (404, True)


class _Pacs(ThreadingHTTPServer):
    """Answers searches with two series, and whatever else with bytes."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answers)
        self.asked: list[tuple[str, str | None]] = []


class _Answers(BaseHTTPRequestHandler):
    server: _Pacs

    def do_GET(self) -> None:
        self.server.asked.append((self.path, self.headers.get("Range")))
        place = urlsplit(self.path).path
        found = [{"0020000D": {"Value": [STUDY]}, "0020000E": {"Value": [uid]}} for uid in (MINE, OTHERS)]
        search = place.endswith(("series", "studies", "instances"))
        content = json.dumps(found).encode() if search else b"voxels" * 1000
        self.send_response(200)
        self.send_header("Content-Type", "application/dicom+json" if search else "application/octet-stream")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        pass


@pytest.fixture
def pacs(parts: Parts, engineer: Api) -> Iterator[_Pacs]:
    """A DICOMweb server, and the data set `pacs` of one of its two series."""
    with _Pacs() as running:
        thread = Thread(target=running.serve_forever)
        thread.start()
        with parts.catalog.write() as session:
            spec = {"kind": "dicomweb", "url": f"http://127.0.0.1:{running.server_port}/dicom-web", "by_admin": True}
            row = Dataset(org=engineer.org, name="pacs", spec=spec)
            session.add(row)
            session.flush()
            meta = {"StudyInstanceUID": STUDY, "SeriesInstanceUID": MINE}
            session.add(Image(dataset_id=row.id, key=MINE, patient_key="x", shuffle=0.5, meta=meta))
        yield running
        running.shutdown()
        thread.join()


def test_viewers_are_given_the_data_sets_series_alone_and_their_query_as_it_came(
    annotator: Api, stranger: Api, dataset: str, pacs: _Pacs
) -> None:
    at = "/label/pacs/proxy/dicom"
    found = annotator.at("GET", f"{at}/qido/studies/{STUDY}/series?limit=101&PatientName=x%20y").json()
    assert [each["0020000E"]["Value"] for each in found] == [[MINE]]
    assert pacs.asked[-1][0] == f"/dicom-web/studies/{STUDY}/series?limit=101&PatientName=x%20y"

    instance = f"studies/{STUDY}/series/{MINE}/instances/1.2.3.1.1"
    voxels = annotator.at("GET", f"{at}/wado/{instance}", headers={"Range": "bytes=0-9"})
    assert (voxels.content, pacs.asked[-1][1]) == (b"voxels" * 1000, "bytes=0-9")
    before = len(pacs.asked)
    assert annotator.at("GET", f"{at}/wado/studies/{STUDY}/series/{OTHERS}/metadata").status_code == 404
    assert annotator.at("GET", f"{at}/wado/studies/{STUDY}").status_code == 403
    assert annotator.at("GET", f"{at}/wado/studies/{STUDY}/series/{MINE}/..%2f{OTHERS}").status_code == 403
    assert annotator.at("POST", f"{at}/stow/studies").status_code == 403
    assert stranger.at("GET", f"{at}/qido/studies").status_code == 404
    assert annotator.at("GET", f"/label/{dataset}/proxy/dicom/qido/studies").status_code == 400
    assert len(pacs.asked) == before

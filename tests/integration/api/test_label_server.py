"""The MONAI Label dialect's further routes: batches, models, logs, a data set as a zip, and viewers' DICOMweb calls."""

import io
import json
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import parse_qs, urlsplit

import nibabel as nib
import numpy as np
import pytest
from sqlalchemy import select, update

from configs.states import JobStatus
from infra.adapters.catalog.tables import Dataset, Experiment, Image, Job, Label, ModelVersion
from infra.services.callers import Role
from infra.services.data.dicomweb import MOST_FOUND_BYTES
from infra.services.data.uploads import MOST_FILES
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
    image = nib.Nifti1Image.from_bytes(packed.read(told["cases"][0]["image"]))
    np.testing.assert_array_equal(image.get_fdata(), nib.load(folder / "p1/a.nii.gz").get_fdata())


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


def test_the_servers_own_pages(
    people_of: dict[Role, Api], parts: Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    logs = parts.settings.home / "logs"
    logs.mkdir(parents=True)
    (logs / "api.log").write_text("".join(f"line {number} <x>\n" for number in range(400)))
    admin = people_of[Role.ADMIN]
    for path in ("/logs", "/logs/"):
        text = admin.at("GET", f"{path}?text=true&lines=2", follow_redirects=False).text
        assert text == "line 398 <x>\nline 399 <x>\n"
    page = admin.at("GET", "/logs/?refresh=5")
    assert (page.headers["content-type"].partition(";")[0], "&lt;x&gt;" in page.text) == ("text/html", True)
    tool = tmp_path / "bin" / "nvidia-smi"
    tool.parent.mkdir()
    monkeypatch.setenv("PATH", str(tool.parent))
    missing = admin.at("GET", "/logs/gpu")
    assert (missing.status_code, "nvidia-smi" in missing.json()["detail"]) == (404, True)
    for script, status, said in (("echo H200", 200, "H200\n"), ("exit 9", 502, "look at the machine's driver")):
        tool.write_text(f"#!/bin/sh\n{script}\n")
        tool.chmod(0o755)
        found = admin.at("GET", "/logs/gpu")
        assert (found.status_code, said in found.text) == (status, True)
    viewer = admin.client.get("/ohif/viewer/x.js")
    assert (viewer.status_code, "/t/{annotator's key}/" in viewer.json()["detail"]) == (404, True)


def test_a_session_may_have_more_slices_than_a_thousand(annotator: Api) -> None:
    slices = [b"%d" % number * (number % 3) for number in range(1100)]
    sent = [("files", (f"{number}.dcm", content)) for number, content in enumerate(slices)]
    session = annotator.at("PUT", "/session/", files=sent).json()["session_id"]
    packed = zipfile.ZipFile(io.BytesIO(annotator.at("GET", f"/session/{session}?image=true").content))
    assert [packed.read(f"{number}.dcm") for number in range(1100)] == slices
    assert annotator.at("PUT", "/session/", files={"file": b"x"}).status_code == 422
    too_many = [("files", ("x.dcm", b""))] * (MOST_FILES + 1)
    assert annotator.at("PUT", "/session/", files=too_many).status_code == 400
    described = annotator.at("GET", "/openapi.json").json()["paths"]["/session"]["put"]
    assert "files" in described["requestBody"]["content"]["multipart/form-data"]["schema"]["required"]


def _finding(study: str, series: str = "") -> dict[str, object]:
    return {"0020000D": {"Value": [study]}, **({"0020000E": {"Value": [series]}} if series else {})}


class _Pacs(ThreadingHTTPServer):
    """Answers searches with two series, and whatever else with bytes."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answers)
        self.asked: list[tuple[str, str | None]] = []
        self.found = [_finding(STUDY, uid) for uid in (MINE, OTHERS)]
        self.instead: tuple[int, bytes] | None = None


class _Answers(BaseHTTPRequestHandler):
    server: _Pacs

    def do_GET(self) -> None:
        self.server.asked.append((self.path, self.headers.get("Range")))
        place, query = urlsplit(self.path).path, parse_qs(urlsplit(self.path).query)
        begin, most = (int(query.get(name, ["0"])[0]) for name in ("offset", "limit"))
        found = [one for one in self.server.found if "SeriesInstanceUID" not in query or one == self.server.found[-1]]
        search = place.endswith(("series", "studies", "instances"))
        content = json.dumps(found[begin : begin + (most or 500)]).encode() if search else b"voxels" * 1000
        status, content = self.server.instead or (200, content)
        self.send_response(status)
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
            url = f"http://127.0.0.1:{running.server_port}/dicom-web"
            filters = "Modality=CT&StudyDate=20260101-&SeriesDescription=T1"
            spec = {"kind": "dicomweb", "url": url, "by_admin": True, "filters": filters}
            row = Dataset(org=engineer.org, name="pacs", spec=spec)
            session.add(row)
            session.flush()
            meta = {"StudyInstanceUID": STUDY, "SeriesInstanceUID": MINE}
            session.add(Image(dataset_id=row.id, key=MINE, patient_key="x", shuffle=0.5, meta=meta, study=STUDY))
        yield running
        running.shutdown()
        thread.join()


def test_viewers_are_given_the_data_sets_series_alone_and_their_query_as_it_came(
    annotator: Api, stranger: Api, dataset: str, pacs: _Pacs
) -> None:
    at = "/label/pacs/proxy/dicom"
    found = annotator.at("GET", f"{at}/qido/studies/{STUDY}/series?limit=101&PatientName=x%20y").json()
    assert [each["0020000E"]["Value"] for each in found] == [[MINE]]
    assert pacs.asked[0][0] == f"/dicom-web/studies/{STUDY}/series?PatientName=x%20y&limit=101"

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


def test_a_search_finds_what_is_ours_behind_what_is_not_and_is_narrowed_by_the_data_sets_filters(
    annotator: Api, pacs: _Pacs
) -> None:
    at = "/label/pacs/proxy/dicom/qido"
    pacs.found = [_finding(f"9.{number}") for number in range(250)] + [_finding(STUDY)]
    assert annotator.at("GET", f"{at}/studies?limit=1").json() == [_finding(STUDY)]
    assert pacs.asked[0][0] == "/dicom-web/studies?ModalitiesInStudy=CT&StudyDate=20260101-&limit=100"
    assert annotator.at("GET", f"{at}/studies?limit=101&offset=1&StudyDate=2025").json() == []
    assert "20260101" not in pacs.asked[-1][0]
    assert len(pacs.asked) == 2 + 3
    found = annotator.at("GET", f"{at}/studies")
    assert (found.json(), "warning" in found.headers) == ([_finding(STUDY)], False)


def test_where_several_series_are_one_image_all_of_its_study_are_given(
    annotator: Api, pacs: _Pacs, parts: Parts
) -> None:
    at, second = "/label/pacs/proxy/dicom", f"studies/{STUDY}/series/{OTHERS}"
    assert annotator.at("GET", f"{at}/wado/{second}/metadata").status_code == 404
    with parts.catalog.write() as session:
        row = session.scalars(select(Dataset).where(Dataset.name == "pacs")).one()
        row.spec = {**row.spec, "channels": [{"name": name, "SeriesDescription": name} for name in ("T1", "T2")]}
    found = annotator.at("GET", f"{at}/qido/studies/{STUDY}/series").json()
    assert [each["0020000E"]["Value"] for each in found] == [[MINE], [OTHERS]]
    assert annotator.at("GET", f"{at}/wado/{second}/metadata").status_code == 200
    pacs.found = [_finding("6.6.6", OTHERS)]
    assert annotator.at("GET", f"{at}/wado/{second}/metadata").status_code == 404, "the study is the server's word"


@pytest.mark.parametrize(
    ("status", "content", "expected"),
    [
        (204, b"", 200),
        (200, b"", 200),
        (200, b'{"a": 1}', 502),
        (200, b"<html>", 502),
        (200, b'[{"0020000E": 5}]', 502),
        (200, b"[" + b" " * MOST_FOUND_BYTES + b"]", 502),
        (503, b"", 503),
    ],
)
def test_a_search_whose_answer_is_no_list_is_the_servers_fault_and_an_empty_one_finds_nothing(
    annotator: Api, pacs: _Pacs, status: int, content: bytes, expected: int
) -> None:
    pacs.instead = status, content
    reply = annotator.at("GET", f"/label/pacs/proxy/dicom/qido/studies/{STUDY}/series")
    assert (reply.status_code, reply.content if status != 503 and expected == 200 else b"[]") == (expected, b"[]")


@pytest.mark.usefixtures("pacs")
def test_a_label_that_was_deleted_is_not_given(annotator: Api, parts: Parts) -> None:
    at = f"/label/pacs/proxy/dicom/wado/studies/{STUDY}/series/{OTHERS}"
    with parts.catalog.write() as session:
        image = session.scalars(select(Image).where(Image.key == MINE)).one()
        session.add(Label(dataset_id=image.dataset_id, image_id=image.id, store_key=OTHERS, fingerprint="1"))
    assert annotator.at("GET", at).content == b"voxels" * 1000
    with parts.catalog.write() as session:
        session.execute(update(Label).values(deleted_at=1.0))
    assert annotator.at("GET", at).status_code == 404

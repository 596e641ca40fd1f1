"""A DICOMweb store beyond the contract: credentials, what is an image, whose SEG it is, and what its errors tell."""

import json
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import islice
from pathlib import Path
from threading import Thread
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
import requests
from pydantic import SecretStr
from pydicom import dcmread
from pydicom.dataset import Dataset, FileDataset
from pydicom.uid import UID, JPEG2000Lossless, JPEGLSLossless, RLELossless

from configs.errors import InvalidRequestError, NotFoundError, StoreError
from configs.specs.dataset import DatasetSpec
from infra.adapters.cache.disk import DiskCache
from infra.adapters.images.base import Credentials, LabelToStore
from infra.adapters.images.dicomweb import DicomWebStore
from infra.adapters.images.open import open_store
from tasks.images.prepare import local_image
from tasks.images.slices import read_headers
from tasks.images.volume import Volume, read_geometry, read_volume
from tasks.labels.forms.read import read_label
from tasks.labels.forms.write import Origin, write_seg
from tests.dicom_series import SHAPE, as_multi_frame, asymmetric, make_series, oblique_affine, save_series
from tests.fixtures_orthanc import PASSWORD, USER, Orthanc
from tests.processes import skip_or_fail


def _upload(orthanc: Orthanc, patient: str) -> list[FileDataset]:
    series = make_series(asymmetric(), oblique_affine(), patient=patient)
    orthanc.upload(series)
    return series


def _seg(series: Sequence[Dataset], path: Path, origin: Origin = "MANUAL") -> LabelToStore:
    marks = np.zeros(SHAPE, np.uint8)
    marks[1:3, 0, 0], marks[4:, 3:5, 1] = 1, 2
    names = {1: "liver", 2: "spleen"}
    write_seg(
        Volume(marks, oblique_affine()), names, list(series), path, label_id=uuid4().hex, author="E", origin=origin
    )
    return LabelToStore(id="one", path=path)


def test_the_whole_way_with_a_password(locked_orthanc: Orthanc, tmp_path: Path) -> None:
    series = _upload(locked_orthanc, f"{uuid4().hex[:12]}")
    key = series[0].SeriesInstanceUID
    spec = DatasetSpec(kind="dicomweb", url=locked_orthanc.dicomweb, filters=f"PatientID={series[0].PatientID}")
    store = open_store(spec, credentials=Credentials(username=USER, password=SecretStr(PASSWORD)))

    [image] = store.images()
    local = local_image(store, DiskCache(tmp_path / "cache", 10**9), image.key, image.fingerprint)
    stored = store.put_label(key, _seg(series, tmp_path / "a.dcm"))
    label = read_label(store.fetch_label(stored.key, tmp_path / "into"), read_geometry(local.path))

    assert image.key == key
    np.testing.assert_array_equal(read_volume(local.path).array, asymmetric())
    expected = np.zeros(SHAPE, np.uint8)
    expected[1:3, 0, 0], expected[4:, 3:5, 1] = 1, 2
    np.testing.assert_array_equal(label.array, expected)
    assert label.names == {1: "liver", 2: "spleen"}


@pytest.mark.parametrize(
    "credentials",
    [None, Credentials(username=USER, password=SecretStr("wrong")), Credentials(token=SecretStr("wrong"))],
)
def test_wrong_credentials_are_the_store_s_error_and_are_not_told(
    credentials: Credentials | None, locked_orthanc: Orthanc
) -> None:
    store = DicomWebStore(locked_orthanc.dicomweb, credentials=credentials)

    with pytest.raises(StoreError, match="401: check the data set's credentials") as caught:
        list(store.images())
    assert "wrong" not in str(caught.value)


def test_next_image_s_meta_is_as_the_contract_says(orthanc: Orthanc) -> None:
    series = _upload(orthanc, uuid4().hex[:12])

    image = DicomWebStore(orthanc.dicomweb + "/").image(series[0].SeriesInstanceUID)

    place = f"{orthanc.dicomweb}/studies/{series[0].StudyInstanceUID}/series/{image.key}"
    assert image.meta == {
        "SeriesInstanceUID": image.key,
        "StudyDate": "20260101",
        "StudyTime": "120000",
        "Modality": "CT",
        "RetrieveURL": place,
        "PatientID": series[0].PatientID,
        "StudyInstanceUID": series[0].StudyInstanceUID,
        "Manufacturer": "test",
    }
    assert (image.study, image.name) == (series[0].StudyInstanceUID, "asymmetric")


def test_more_instances_are_another_fingerprint(orthanc: Orthanc) -> None:
    series = make_series(asymmetric(), oblique_affine(), patient=uuid4().hex[:12])
    store = DicomWebStore(orthanc.dicomweb)
    orthanc.upload(series[:3])
    before = store.image(series[0].SeriesInstanceUID).fingerprint

    orthanc.upload(series[3:])

    assert store.image(series[0].SeriesInstanceUID).fingerprint != before


def test_a_seg_is_no_image_and_an_image_no_label(orthanc: Orthanc, tmp_path: Path) -> None:
    series = _upload(orthanc, uuid4().hex[:12])
    store = DicomWebStore(orthanc.dicomweb)
    stored = store.put_label(series[0].SeriesInstanceUID, _seg(series, tmp_path / "a.dcm"))

    with pytest.raises(NotFoundError):
        store.image(stored.key)
    with pytest.raises(NotFoundError):
        store.fetch_label(series[0].SeriesInstanceUID, tmp_path / "into")


def test_a_seg_of_another_series_is_refused(orthanc: Orthanc, tmp_path: Path) -> None:
    series, other = _upload(orthanc, uuid4().hex[:12]), _upload(orthanc, uuid4().hex[:12])

    with pytest.raises(InvalidRequestError, match="does not refer"):
        DicomWebStore(orthanc.dicomweb).put_label(other[0].SeriesInstanceUID, _seg(series, tmp_path / "a.dcm"))


def test_a_model_s_own_seg_is_automatic(orthanc: Orthanc, tmp_path: Path) -> None:
    series = _upload(orthanc, uuid4().hex[:12])
    store = DicomWebStore(orthanc.dicomweb, filters=f"PatientID={series[0].PatientID}")

    store.put_label(series[0].SeriesInstanceUID, _seg(series, tmp_path / "a.dcm", "AUTOMATIC"))

    [label] = store.labels()
    assert label.automatic


def test_listing_goes_on_until_a_page_is_empty(orthanc: Orthanc) -> None:
    patient = uuid4().hex[:12]
    uploaded = [make_series(asymmetric((2, 2, 1)), oblique_affine(), patient=patient)[0] for _ in range(7)]
    orthanc.upload(uploaded)
    store = DicomWebStore(orthanc.dicomweb, filters=f"PatientID={patient}", page=3)

    assert {image.key for image in store.images()} == {instance.SeriesInstanceUID for instance in uploaded}


class _Answer(BaseHTTPRequestHandler):
    """Answers everything with what the test wants."""

    status, content = 200, b""

    def do_GET(self) -> None:
        self.send_response(self.status)
        self.send_header("Content-Length", str(len(self.content)))
        self.end_headers()
        self.wfile.write(self.content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        pass


@contextmanager
def _server(status: int, content: bytes) -> Iterator[str]:
    handler = type("Handler", (_Answer,), {"status": status, "content": content})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/patient-mueller"
        server.shutdown()


@pytest.mark.parametrize(
    ("status", "content"), [(500, b""), (404, b""), (200, b"<html>"), (200, b'[{"0020000D": 5}]'), (200, b'{"a": 1}')]
)
def test_nonsense_is_the_store_s_error_without_its_address(status: int, content: bytes) -> None:
    with _server(status, content) as url, pytest.raises(StoreError) as caught:
        list(DicomWebStore(url).images())
    assert "mueller" not in str(caught.value)


def test_a_patient_is_an_id_of_whoever_issued_it() -> None:
    def series(number: int, issuer: str) -> dict[str, Any]:
        said = {"0020000D": f"1.{number}", "0020000E": f"2.{number}", "00100020": "7", "00100021": issuer}
        return {tag: {"vr": "LO", "Value": [value]} for tag, value in said.items() if value}

    listed = [series(1, "north"), series(2, "south"), series(3, "")]
    with _server(200, json.dumps(listed).encode()) as url:
        found = list(islice(DicomWebStore(url).images(), 3))
    assert len({image.patient for image in found}) == 3
    assert {image.study for image in found} == {"1.1", "1.2", "1.3"}


def test_no_content_is_an_empty_store() -> None:
    with _server(204, b"") as url:
        assert list(DicomWebStore(url).images()) == []


def test_a_server_that_is_not_there_is_the_store_s_error() -> None:
    with pytest.raises(StoreError, match="could not be reached"):
        list(DicomWebStore("http://127.0.0.1:9/mueller").images())


@pytest.mark.parametrize(("url", "filters"), [("ftp://x/y", ""), ("nonsense", ""), ("http://x/y", "Modality")])
def test_an_address_or_filter_without_meaning_is_refused(url: str, filters: str) -> None:
    with pytest.raises(InvalidRequestError):
        DicomWebStore(url, filters=filters)


def test_a_series_that_arrives_incomplete_is_not_taken(orthanc: Orthanc, tmp_path: Path) -> None:
    series = _upload(orthanc, uuid4().hex[:12])
    url, key = orthanc.dicomweb, series[0].SeriesInstanceUID

    with pytest.raises(StoreError, match="sent 5 of 6 instances"):
        DicomWebStore(url, session=_OneMorePromised()).fetch(key, tmp_path / "into")


class _OneMorePromised(requests.Session):
    """A connection on which the server promises one instance more than it sends, as a cut stream looks."""

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:
        answer = super().send(request, **options)
        if "SeriesInstanceUID=" in (request.url or ""):
            content = answer.json()
            content[0]["00201209"]["Value"][0] += 1
            answer._content = json.dumps(content).encode()
        return answer


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless, JPEG2000Lossless])
def test_compressed_series_come_as_they_are_stored_and_are_decoded_here(
    syntax: UID, orthanc: Orthanc, tmp_path: Path
) -> None:
    shape = (64, 48, 3)
    series = make_series(asymmetric(shape), oblique_affine(), patient=uuid4().hex[:12])
    for instance in series:
        instance.compress(syntax)
    orthanc.upload(series)
    store = DicomWebStore(orthanc.dicomweb)
    image = store.image(series[0].SeriesInstanceUID)

    [folder] = store.fetch(image.key, tmp_path / "into").paths
    local = local_image(store, DiskCache(tmp_path / "cache", 10**9), image.key, image.fingerprint)

    assert {dcmread(path).file_meta.TransferSyntaxUID for path in folder.iterdir()} == {syntax}
    np.testing.assert_array_equal(read_volume(local.path).array, asymmetric(shape))


@pytest.mark.parametrize("code", [["+e1"], ["+eb", "+q", "95"]], ids=["lossless", "baseline"])
def test_jpeg_of_dcmtk_comes_through_the_server_too(code: list[str], orthanc: Orthanc, tmp_path: Path) -> None:
    if shutil.which("dcmcjpeg") is None:
        skip_or_fail("DCMTK's tools are not installed here: apt-get install dcmtk.")
    values = np.add.outer(np.add.outer(np.arange(64), np.arange(48)), np.arange(3)).astype(np.int16)
    series = make_series(values, oblique_affine(), patient=uuid4().hex[:12], intercept=0)
    for instance in series:
        plane = np.frombuffer(instance.PixelData, "<i2").astype(np.uint8)
        instance.BitsAllocated, instance.BitsStored, instance.HighBit, instance.PixelRepresentation = 8, 8, 7, 0
        instance.PixelData = plane.tobytes()
    for path in save_series(series, tmp_path / "series").iterdir():
        subprocess.run(["dcmcjpeg", *code, str(path), str(path)], check=True)
        orthanc.upload([dcmread(path)])
    store = DicomWebStore(orthanc.dicomweb)
    image = store.image(series[0].SeriesInstanceUID)

    local = local_image(store, DiskCache(tmp_path / "cache", 10**9), image.key, image.fingerprint)

    found = read_volume(local.path).array
    assert np.abs(found - values).max() <= (0 if code == ["+e1"] else 4)


def test_an_enhanced_image_s_label_comes_back_voxel_by_voxel(orthanc: Orthanc, tmp_path: Path) -> None:
    series = make_series(asymmetric(), oblique_affine(), patient=uuid4().hex[:12])
    enhanced = as_multi_frame([series[index] for index in (3, 0, 4, 1, 2)])
    orthanc.upload([enhanced])
    store = DicomWebStore(orthanc.dicomweb)
    image = store.image(enhanced.SeriesInstanceUID)
    local = local_image(store, DiskCache(tmp_path / "cache", 10**9), image.key, image.fingerprint)
    assert local.headers is not None

    source = _seg(read_headers(local.headers), tmp_path / "seg.dcm")
    stored = store.put_label(image.key, source)
    label = read_label(store.fetch_label(stored.key, tmp_path / "into"), local.geometry())

    expected = np.zeros(SHAPE, np.uint8)
    expected[1:3, 0, 0], expected[4:, 3:5, 1] = 1, 2
    np.testing.assert_array_equal(label.array, expected)
    np.testing.assert_array_equal(read_volume(local.path).array, asymmetric())


def test_a_mark_that_was_seen_spares_the_request_for_that_label_alone(orthanc: Orthanc, tmp_path: Path) -> None:
    series = _upload(orthanc, uuid4().hex[:12])
    asked = _Asked()
    store = DicomWebStore(orthanc.dicomweb, filters=f"PatientID={series[0].PatientID}", session=asked)
    store.put_label(series[0].SeriesInstanceUID, _seg(series, tmp_path / "a.dcm"))
    [first] = store.labels()
    store.put_label(series[0].SeriesInstanceUID, _seg(series, tmp_path / "b.dcm"))
    asked.urls.clear()

    [second] = store.labels({first.mark})

    assert second.key != first.key
    assert len([url for url in asked.urls if url.endswith("/metadata")]) == 1


def test_a_server_that_does_not_know_any_transfer_syntax_sends_the_usual_one(orthanc: Orthanc, tmp_path: Path) -> None:
    series = _upload(orthanc, uuid4().hex[:12])

    fetched = DicomWebStore(orthanc.dicomweb, session=_Old()).fetch(series[0].SeriesInstanceUID, tmp_path)

    assert len(list(fetched.paths[0].iterdir())) == len(series)


class _Old(requests.Session):
    """A connection to a server that has not heard of `transfer-syntax=*`."""

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:
        answer = super().send(request, **options)
        if "transfer-syntax=*" in request.headers.get("Accept", ""):
            answer.status_code = 406
        return answer


class _Asked(requests.Session):
    """A connection that notes what was asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.urls: list[str] = []

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:
        self.urls.append(request.url or "")
        return super().send(request, **options)

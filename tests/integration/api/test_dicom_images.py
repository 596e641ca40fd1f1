"""A PACS as it comes: volumes are given, everything else is listed with the reason, and who may not enter is told."""

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
from pydicom.dataset import FileDataset
from pydicom.uid import UID, generate_uid

from infra.adapters.catalog.tables import Image
from infra.wiring import Parts
from tasks.images.stores import image_of, store_of
from tasks.images.volume import Volume, read_volume, write_nifti
from tests.dicom_series import as_multi_frame, asymmetric, make_series, oblique_affine
from tests.fixtures_bearer import BearerProxy, bearer_proxy
from tests.fixtures_orthanc import Orthanc
from tests.integration.api.conftest import Api

NATIVE = "/api/teachback/v1"
TOKEN = "a-bearer-token-of-the-pacs"
SHAPE = (6, 5, 7)


@pytest.fixture
def proxy(orthanc: Orthanc) -> Iterator[BearerProxy]:
    with bearer_proxy(orthanc.url, TOKEN) as running:
        yield running


def _series(patient: str, study: str | None = None) -> list[FileDataset]:
    series = make_series(asymmetric(SHAPE), oblique_affine(), patient=patient)
    if study is not None:
        for instance in series:
            instance.StudyInstanceUID = study
    return series


def _set(series: list[FileDataset], **values: Any) -> list[FileDataset]:
    for instance in series:
        for name, value in values.items():
            setattr(instance, name, value)
    return series


def _report(patient: str) -> list[FileDataset]:
    [report] = _series(patient)[:1]
    report.SOPClassUID = UID("1.2.840.10008.5.1.4.1.1.88.33")
    report.Modality = "SR"
    for name in ("PixelData", "Rows", "Columns", "ImagePositionPatient"):
        delattr(report, name)
    return [report]


def _key(series: list[FileDataset]) -> str:
    return str(series[0].SeriesInstanceUID)


def _made(engineer: Api, url: str, patient: str, **more: Any) -> str:
    made = engineer.made("/datasets", name=patient, client_url=url, filters=f"PatientID={patient}*", **more)
    return str(made["id"])


def _all_given(engineer: Api, dataset: str) -> dict[str, dict[str, str]]:
    """Return every image that `nextimage` gives, with its meta, until there is none."""
    given = {}
    while (
        reply := engineer.call("POST", f"/datasets/{dataset}/jobs", json={"action": "nextimage"})
    ).status_code == 201:
        given[reply.json()["image"]] = reply.json()["meta"]
    assert reply.status_code == 404
    return given


def _fetched(engineer: Api, dataset: str, series: list[FileDataset]) -> int:
    """Ask for an image's file, and return the answer's status."""
    return engineer.at("GET", f"/label/{dataset}/datastore/image", params={"image": _key(series)}).status_code


def _state(engineer: Api, dataset: str) -> tuple[str, str]:
    summary = engineer.at("GET", f"{NATIVE}/datasets/{dataset}").json()
    shown = engineer.call("GET", f"/datasets/{dataset}").json()
    assert (summary["state"], summary["state_reason"]) == (shown["state"], shown["state_reason"])
    return summary["state"], summary["state_reason"]


def test_volumes_are_given_and_all_else_is_listed_with_the_reason(
    engineer: Api, orthanc: Orthanc, parts: Parts
) -> None:
    patient = uuid4().hex[:10]
    plain, second = _series(patient), _series(patient)
    _set(second, StudyInstanceUID=plain[0].StudyInstanceUID)  # with a frame of reference of its own
    enhanced = as_multi_frame(_series(patient)[::-1])
    gap = _series(patient)
    del gap[3]
    phases = _series(patient)
    again = _set(make_series(asymmetric(SHAPE), oblique_affine(), patient=patient, series_uid=_key(phases)))
    _set(again, StudyInstanceUID=phases[0].StudyInstanceUID)
    odd = {
        "localizer": _set(_series(patient), ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]),
        "secondary capture": _set(_series(patient), SOPClassUID="1.2.840.10008.5.1.4.1.1.7", Modality="OT"),
        "colour": _set(_series(patient), PhotometricInterpretation="RGB", SamplesPerPixel=3, Modality="OT"),
        "single slice": _series(patient)[:1],
        "4-D": [*phases, *again],
        "no image": _report(patient),
        "irregular": gap,
    }
    for series in (plain, second, [enhanced], *odd.values()):
        for instance in series:
            instance.file_meta.MediaStorageSOPClassUID = instance.SOPClassUID
        orthanc.upload(series)

    dataset = _made(engineer, orthanc.dicomweb, patient)
    given = _all_given(engineer, dataset)
    skipped = engineer.at("GET", f"{NATIVE}/datasets/{dataset}/skipped").json()["images"]
    summary = engineer.at("GET", f"{NATIVE}/datasets/{dataset}").json()

    assert set(given) == {_key(plain), _key(second), str(enhanced.SeriesInstanceUID)}
    reasons = {row["image"]: row["reason"] for row in skipped}
    assert {kind: reasons[_key(series)].partition(": ")[0] for kind, series in odd.items()} == {k: k for k in odd}
    assert "slices 5 and 3 (5.00 mm)" in reasons[_key(gap)]
    assert "2 volumes at the same 7 positions" in reasons[_key(phases)]
    assert summary["skipped"] == dict.fromkeys(odd, 1)
    assert (summary["images"], summary["waiting"]) == (3, 0)
    with parts.catalog.read() as session:
        rows = session.query(Image).filter(Image.key.in_(given), Image.dataset_id == dataset).all()
    for row in rows:
        local = image_of(parts, store_of(parts, dataset), row)
        np.testing.assert_array_equal(read_volume(local.path).array, asymmetric(SHAPE))
    assert len({row.patient_key for row in rows}) == 1

    changed = engineer.call("PATCH", f"/datasets/{dataset}", json={"on_gap": "resample"})
    assert changed.status_code == 200
    assert set(meta := _all_given(engineer, dataset)) == {_key(gap)}
    assert "slices 5 and 3" in meta[_key(gap)]["Resampled"]
    with parts.catalog.read() as session:
        [row] = session.query(Image).filter(Image.key == _key(gap)).all()
    local = image_of(parts, store_of(parts, dataset), row)
    assert read_volume(local.path).array.shape == SHAPE

    label = local.path.with_name("label.nii")
    write_nifti(Volume(np.ones(SHAPE, np.uint8), local.geometry().affine), label)
    path, query = f"/label/{dataset}/datastore/label", {"image": _key(gap)}
    saved = engineer.at("PUT", path, params=query, files={"label": label.read_bytes()})
    assert saved.status_code == 200
    assert "kept here: its image was put on a regular grid" in saved.json()["warnings"][-1]


def test_a_token_that_expired_degrades_the_data_set_until_it_is_replaced(
    engineer: Api, orthanc: Orthanc, proxy: BearerProxy, caplog: pytest.LogCaptureFixture
) -> None:
    patient = uuid4().hex[:10]
    series = _series(patient)
    orthanc.upload(series)
    url = f"{proxy.url}/dicom-web"
    refused = engineer.call("POST", "/datasets", json={"client_url": url, "client_token": "wrong"})
    assert (refused.status_code, "401: check the data set's credentials" in refused.text) == (400, True)
    dataset = _made(engineer, url, patient, client_token=TOKEN)
    assert _state(engineer, dataset) == ("ready", "")

    proxy.token = "the-next-one"
    assert _fetched(engineer, dataset, series) == 502
    reason = "The DICOMweb server answered 401: check the data set's credentials"
    assert _state(engineer, dataset) == ("degraded", reason)
    assert engineer.at("GET", f"{NATIVE}/status").json()["health"]["degraded"] == {patient: reason}
    assert engineer.at("POST", f"{NATIVE}/datasets/{dataset}:sync").status_code == 502

    still = engineer.call("PATCH", f"/datasets/{dataset}", json={"client_token": "also-wrong"})
    assert still.status_code == 400
    assert _state(engineer, dataset) == ("degraded", reason)
    assert engineer.call("PATCH", f"/datasets/{dataset}", json={"client_token": "the-next-one"}).status_code == 200
    assert _state(engineer, dataset) == ("ready", "")
    told = caplog.text
    assert not any(secret in told for secret in (TOKEN, "the-next-one", "also-wrong", patient, _key(series)))


def test_a_store_that_is_back_is_ready_as_soon_as_it_gives_an_image(
    engineer: Api, orthanc: Orthanc, proxy: BearerProxy
) -> None:
    patient = uuid4().hex[:10]
    series = _series(patient)
    orthanc.upload(series)
    dataset = _made(engineer, f"{proxy.url}/dicom-web", patient, client_token=TOKEN)
    proxy.token = "expired"
    engineer.at("POST", f"{NATIVE}/datasets/{dataset}:sync")
    assert _state(engineer, dataset)[0] == "degraded"

    proxy.token = TOKEN
    assert _fetched(engineer, dataset, series) == 200

    assert _state(engineer, dataset) == ("ready", "")


def test_an_image_that_cannot_be_decoded_is_skipped_after_three_tries_and_comes_back_with_other_bytes(
    engineer: Api, orthanc: Orthanc
) -> None:
    patient = uuid4().hex[:10]
    series = _series(patient)
    series[2].PixelData = series[2].PixelData[:10]
    orthanc.upload(series)
    dataset = _made(engineer, orthanc.dicomweb, patient)

    def skipped() -> list[Any]:
        return list(engineer.at("GET", f"{NATIVE}/datasets/{dataset}/skipped").json()["images"])

    for before in (0, 0, 0, 1):
        assert len(skipped()) == before
        assert _fetched(engineer, dataset, series) == 400
    [row] = skipped()
    assert row["reason"].startswith("unreadable: Slice 3 (Explicit VR Little Endian) cannot be decoded")
    assert row["by"] == "system"
    assert _all_given(engineer, dataset) == {}

    orthanc.remove(orthanc.lookup(series[2].SOPInstanceUID))
    whole = make_series(asymmetric(SHAPE), oblique_affine(), patient=patient, series_uid=_key(series))
    for instance in (whole[2], _beyond(whole)):
        instance.StudyInstanceUID = series[0].StudyInstanceUID
        orthanc.upload([instance])
    assert engineer.at("POST", f"{NATIVE}/datasets/{dataset}:sync").json()["changed"] == 1

    assert set(_all_given(engineer, dataset)) == {_key(series)}


def _beyond(series: list[FileDataset]) -> FileDataset:
    """Return one slice more, below the last."""
    last, before = series[-1], series[-2]
    step = np.subtract(last.ImagePositionPatient, before.ImagePositionPatient)
    last.ImagePositionPatient = [round(float(value), 6) for value in np.add(last.ImagePositionPatient, step)]
    last.SOPInstanceUID = last.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    last.InstanceNumber = len(series) + 1
    return last

"""A data set on a real DICOMweb server, through the API."""

from fastapi.testclient import TestClient

from tests.dicom_series import asymmetric, make_series, oblique_affine
from tests.fixtures_orthanc import PASSWORD, USER, Orthanc
from tests.integration.api.conftest import Api


def test_a_server_with_a_password_is_read_and_its_images_carry_what_a_viewer_needs(
    engineer: Api, locked_orthanc: Orthanc, client: TestClient
) -> None:
    series = make_series(asymmetric(), oblique_affine(), patient="API-1")
    locked_orthanc.upload(series)
    locked_orthanc.upload(make_series(asymmetric(), oblique_affine(), patient="API-2"))
    body = {"name": "pacs", "client_url": locked_orthanc.dicomweb, "filters": "PatientID=API-1"}
    wrong = engineer.call("POST", "/datasets", json={**body, "client_id": USER, "client_secret": "wrong"})
    assert wrong.status_code == 400
    assert "check the data set's credentials" in wrong.json()["error_desc"]
    made = engineer.made("/datasets", **body, client_id=USER, client_secret=PASSWORD)
    given = engineer.made(f"/datasets/{made['id']}/jobs", action="nextimage")
    assert given["image"] == series[0].SeriesInstanceUID
    assert given["meta"]["SeriesInstanceUID"] == series[0].SeriesInstanceUID
    assert given["meta"]["PatientID"] == "API-1"
    assert given["meta"]["Modality"] == "CT"
    other = engineer.call("PATCH", f"/datasets/{made['id']}", json={"client_id": USER, "client_secret": "wrong"})
    assert other.status_code == 400
    found = engineer.at("GET", "/label/pacs/proxy/dicom/qido/studies?limit=101").json()
    assert [study["0020000D"]["Value"] for study in found] == [[series[0].StudyInstanceUID]]
    file = client.get(
        f"/label/pacs/datastore/image?image={given['image']}", headers={"Authorization": f"Bearer {engineer.secret}"}
    )
    assert file.status_code == 200

"""Images that clients of MONAI Label add to a data set: into its folder, or its DICOMweb server; nowhere else."""

from pathlib import Path
from typing import Any
from uuid import uuid4

import nibabel as nib
import numpy as np
import requests

from infra.services.callers import Role
from tests.dicom_series import asymmetric, make_series, oblique_affine, save_series, zipped
from tests.fixtures_orthanc import Orthanc
from tests.integration.api.conftest import AFFINE, Api, write_label
from tests.integration.api.label_client import LabelClient

ELSEWHERE = (
    "../escaped_img",
    "a/../../b",
    "/etc/x",
    "labels/x",
    "teachback/labels/x",
    ".hidden/x",
    "a//b",
    "x/",
    "a" * 999,
    "a\0b",
    "..",
    "p1/a/..",
)


def _put(api: Api, at: str, image: str | None, name: str, content: bytes) -> Any:
    query = {} if image is None else {"image": image}
    return api.at("PUT", at, params=query, files={"file": (name, content)}, data={"params": "{}"})


def _volume(folder: Path, seed: int = 1) -> bytes:
    path = folder / "volume.nii.gz"
    voxels = np.random.default_rng(seed).normal(size=(6, 7, 8)).astype(np.float32)
    nib.save(nib.Nifti1Image(voxels, AFFINE), path)
    return path.read_bytes()


def test_an_image_that_is_put_lies_in_the_folder_and_can_be_labelled(
    people_of: dict[Role, Api], address: str, dataset: str, folder: Path, tmp_path: Path
) -> None:
    client = LabelClient(address, people_of[Role.ANNOTATOR].secret)
    volume = tmp_path / "sent.nii.gz"
    volume.write_bytes(_volume(tmp_path))
    for path in ("/datastore/?image=p7%2Fnew", "/datastore/image?image=p7%2Fnew"):  # the same again changes nothing
        reply = client.form("PUT", path, {"params": '{"client_id": "ann"}'}, {"file": volume})
        assert reply.json == {"image": "p7/new"}
    assert (folder / "p7/new.nii.gz").read_bytes() == volume.read_bytes()
    assert client.form("PUT", "/datastore/", {}, {"file": volume}).json == {"image": "sent"}
    assert client.get("/info/")["datastore"]["total"] == 8
    held = client.call("GET", "/datastore/image?image=p7%2Fnew")
    got = nib.Nifti1Image.from_bytes(held.body)
    np.testing.assert_array_equal(got.get_fdata(), nib.load(volume).get_fdata())
    label = write_label(tmp_path / "label.nii.gz")
    assert client.form("PUT", "/datastore/label?image=p7%2Fnew", {}, {"label": label}).status == 200

    volume.write_bytes(_volume(tmp_path, 2))
    refused = client.form("PUT", "/datastore/?image=p7%2Fnew", {}, {"file": volume})
    assert (refused.status, b"nothing is replaced" in refused.body) == (409, True)
    assert client.call("PUT", "/datastore/?image=x", b"", "multipart/form-data; boundary=x").status == 422
    assert dataset


def test_an_id_that_leads_elsewhere_and_what_is_no_image_write_nothing(
    annotator: Api, dataset: str, folder: Path, tmp_path: Path
) -> None:
    at, content = f"/label/{dataset}/datastore/image", _volume(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    for image in ELSEWHERE:
        assert _put(annotator, at, image, "x.nii.gz", content).status_code == 400, image
    for name, sent in (("x.nii.gz", content[:99]), ("x.nii.gz", b""), ("x.txt", b"x"), ("x.mhd", b"x"), ("x", content)):
        assert _put(annotator, at, "p7/x", name, sent).status_code == 400, name
    for name in ("x.dcm", "x.zip", "x.png", "x.nrrd", "x.mha"):
        assert _put(annotator, at, "p7/x", name, b"garbage").status_code == 400, name
    assert [path for path in sorted(tmp_path.rglob("*")) if path.is_relative_to(folder.parent)] == before
    (folder / "out").symlink_to(tmp_path)
    assert _put(annotator, at, "out/x", "x.nii.gz", content).status_code >= 400
    assert not (tmp_path / "x.nii.gz").exists()


def test_a_series_is_put_as_a_zip_or_as_its_files(annotator: Api, dataset: str, folder: Path, tmp_path: Path) -> None:
    at, series = f"/label/{dataset}/datastore/image", make_series(asymmetric(), oblique_affine())
    files = save_series(series, tmp_path / "series")
    uid = str(series[0].SeriesInstanceUID)
    assert _put(annotator, at, None, "scan.zip", zipped(files)).json() == {"image": uid}
    assert len(list((folder / uid).iterdir())) == len(series)
    sent = [("file", (path.name, path.read_bytes())) for path in sorted(files.iterdir())]
    assert annotator.at("PUT", f"{at}?image=p7/ct", files=sent).json() == {"image": "p7/ct"}
    got = nib.Nifti1Image.from_bytes(annotator.at("GET", f"{at}?image=p7/ct").content)
    assert got.shape == asymmetric().shape
    assert _put(annotator, at, uid, "scan.zip", zipped(files)).status_code == 200


def test_a_dicomweb_server_gets_a_series_under_its_own_uids(
    engineer: Api, annotator: Api, orthanc: Orthanc, tmp_path: Path
) -> None:
    patient = uuid4().hex[:10]
    engineer.made("/datasets", name="pacs", client_url=orthanc.dicomweb, filters=f"PatientID={patient}")
    at, series = "/label/pacs/datastore/image", make_series(asymmetric(), oblique_affine(), patient=patient)
    content, uid = zipped(save_series(series, tmp_path / "series")), str(series[0].SeriesInstanceUID)
    orthanc.upload(series[:2])  # what is there already is not sent again
    assert _put(annotator, at, "p7/ct", "scan.zip", content).status_code == 400
    for _ in range(2):
        assert _put(annotator, at, None, "scan.zip", content).json() == {"image": uid}
    sample = annotator.at("POST", "/label/pacs/activelearning/first", json={}).json()
    assert (sample["id"], sample["SeriesInstanceUID"], sample["Modality"]) == (uid, uid, "CT")
    assert nib.Nifti1Image.from_bytes(annotator.at("GET", f"{at}?image={uid}").content).shape == asymmetric().shape
    assert _put(annotator, at, None, "x.nii.gz", _volume(tmp_path)).status_code == 400
    others = make_series(asymmetric(), oblique_affine(), patient="other")
    left_out = _put(annotator, at, None, "scan.zip", zipped(save_series(others, tmp_path / "others")))
    assert (left_out.status_code, "filters" in left_out.json()["detail"]) == (400, True)
    assert requests.get(f"{orthanc.dicomweb}/series?PatientID=other", timeout=10).json() == [], "nothing was stored"


def test_what_a_dicomweb_server_has_is_neither_replaced_nor_added_to_outside_the_data_set(
    engineer: Api, annotator: Api, orthanc: Orthanc, tmp_path: Path
) -> None:
    patient, strange = uuid4().hex[:10], uuid4().hex[:10]
    engineer.made("/datasets", name="pacs", client_url=orthanc.dicomweb, filters=f"PatientID={patient}&Modality=C*")
    at = "/label/pacs/datastore/image"
    others = make_series(asymmetric(), oblique_affine(), patient=strange)
    orthanc.upload(others[:2])
    for instance in others:
        instance.PatientID = patient  # the headers say what the filters ask for
    sent = _put(annotator, at, None, "scan.zip", zipped(save_series(others, tmp_path / "others")))
    assert (sent.status_code, "nothing is added" in sent.json()["detail"]) == (409, True)

    series = make_series(asymmetric(), oblique_affine(), patient=patient)
    orthanc.upload(series)
    series[1].PixelData = bytes(reversed(series[1].PixelData))
    sent = _put(annotator, at, None, "scan.zip", zipped(save_series(series, tmp_path / "series")))
    assert (sent.status_code, "nothing is replaced" in sent.json()["detail"]) == (409, True)

    series[1].StudyInstanceUID = others[0].StudyInstanceUID
    sent = _put(annotator, at, None, "scan.zip", zipped(save_series(series, tmp_path / "two-studies")))
    assert (sent.status_code, "one StudyInstanceUID" in sent.json()["detail"]) == (400, True)

"""What OHIF's MONAI Label mode sends, of series in a DICOMweb server and without any header; and SEGs read back."""

import json
from pathlib import Path
from typing import Any
from uuid import uuid4

import highdicom
import numpy as np
import pytest
import SimpleITK
from pydicom.dataset import FileDataset

from infra.services.callers import Role
from tasks.images.volume import Volume
from tasks.labels.forms.write import to_nrrd
from tests.dicom_series import SHAPE, asymmetric, make_series, oblique_affine
from tests.fixtures_orthanc import Orthanc
from tests.integration.api.conftest import Api
from tests.integration.api.label_client import LabelClient
from tests.integration.api.slot_server import SlotServer

MODEL = "liver+and+spleen"
ASKED = {
    "result_extension": ".nrrd",
    "result_dtype": "uint8",
    "result_compress": False,
    "restore_label_idx": False,
}
NAMES = {"label_info": [{"name": "liver", "idx": 1}, {"name": "spleen", "idx": 2}]}


@pytest.fixture
def series() -> list[FileDataset]:
    return make_series(asymmetric(), oblique_affine(), patient=uuid4().hex[:10])


@pytest.fixture
def dataset(engineer: Api, orthanc: Orthanc, series: list[FileDataset]) -> str:
    """One series in a DICOMweb server."""
    orthanc.upload(series)
    filters = f"PatientID={series[0].PatientID}"
    return str(engineer.made("/datasets", name="pacs", client_url=orthanc.dicomweb, filters=filters)["id"])


@pytest.fixture
def answer(slot: SlotServer) -> np.ndarray[Any, Any]:
    """What the model says: two boxes that lie nowhere else however axes are turned."""
    array = np.zeros(SHAPE, np.uint8)
    array[0:2, 1:4, 0:3], array[4:, 5:, 3:] = 1, 2
    slot.content = to_nrrd(Volume(array, oblique_affine()))
    return array


@pytest.fixture
def ohif(people_of: dict[Role, Api], address: str) -> LabelClient:
    """A viewer that was given an annotator's address."""
    return LabelClient(f"{address}/label/pacs/t/{people_of[Role.ANNOTATOR].secret}")


def _uid(series: list[FileDataset]) -> str:
    return str(series[0].SeriesInstanceUID)


def test_the_sequence_of_ohif_from_info_to_a_label_that_lies_in_the_pacs(
    ohif: LabelClient, answer: np.ndarray[Any, Any], series: list[FileDataset], tmp_path: Path
) -> None:
    info = ohif.get("/info/")
    assert isinstance(info["labels"], list)
    model = info["models"]["liver and spleen"]
    assert (model["type"], model["dimension"], model["labels"]) == ("segmentation", 3, {"liver": 1, "spleen": 2})

    sample = ohif.post("/activelearning/random", {}).json
    told = ("Modality", "StudyDate", "StudyTime", "PatientID", "StudyInstanceUID", "SeriesInstanceUID")
    assert {name: sample[name] for name in told} == {name: str(series[0][name].value) for name in told}
    assert sample["RetrieveURL"].endswith(f"/studies/{sample['StudyInstanceUID']}/series/{_uid(series)}")

    form = {"params": json.dumps(ASKED)}
    reply = ohif.form("POST", f"/infer/{MODEL}?image={_uid(series)}&output=image", form, {})
    assert reply.status == 200, reply.body
    head, _, voxels = reply.body.partition(b"\n\n")
    fields = dict(line.split(": ", 1) for line in head.decode().splitlines() if ": " in line)
    assert (fields["encoding"], fields["sizes"]) == ("raw", " ".join(map(str, SHAPE)))
    assert fields["type"] in {"uint8", "unsigned char"}
    assert voxels == answer.tobytes(order="F"), "columns run fastest, slices ascend: as a viewer shows them"

    (tmp_path / "label.bin").write_bytes(answer.tobytes(order="F"))
    at, params = f"/datastore/label?image={_uid(series)}", {"params": json.dumps(NAMES)}
    saved = ohif.form("PUT", at, params, {"label": tmp_path / "label.bin"})
    assert (saved.json["image"], "warnings" in saved.json) == (_uid(series), False)
    got = tmp_path / "got.nrrd"
    got.write_bytes(ohif.call("GET", f"/datastore/label?label={_uid(series)}&tag=final").body)
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(got))), answer.T)

    assert ohif.call("GET", "/train/?check_if_running=true").status == 404
    for method in ("POST", "DELETE"):
        refused = ohif.call(method, "/train/", b"{}" if method == "POST" else b"", "application/json")
        assert refused.status == 403, "an annotator's address does not train"


def test_a_dicom_seg_says_the_models_voxels_by_name_under_their_own_slices(
    ohif: LabelClient, answer: np.ndarray[Any, Any], series: list[FileDataset], tmp_path: Path
) -> None:
    form = {"params": json.dumps(NAMES)}
    reply = ohif.form("POST", f"/infer/{MODEL}?image={_uid(series)}&output=dicom_seg", form, {})
    assert (reply.status, reply.headers["content-type"]) == (200, "application/dicom")
    (tmp_path / "result.dcm").write_bytes(reply.body)
    seg = highdicom.seg.segread(tmp_path / "result.dcm")
    found = {number: seg.get_segment_description(number) for number in seg.segment_numbers}
    assert [one.segment_label for one in found.values()] == ["liver", "spleen"]
    assert {one.algorithm_type.value for one in found.values()} == {"AUTOMATIC"}
    by_place = sorted(series, key=lambda one: float(np.dot(one.ImagePositionPatient, oblique_affine()[:3, 2])))
    uids = [one.SOPInstanceUID for one in by_place]
    marks = seg.get_pixels_by_source_instance(
        uids, combine_segments=True, assert_missing_frames_are_empty=True, ignore_spatial_locations=True
    )
    np.testing.assert_array_equal(np.asarray(marks).transpose(2, 1, 0), answer)
    unnamed = ohif.form("POST", f"/infer/{MODEL}?image={_uid(series)}&output=dicom_seg", {"params": "{}"}, {})
    assert unnamed.status == 404

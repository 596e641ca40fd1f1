"""Guide 000, `Interactive Annotation with VISTA`, call by call, against a whole installation and a real Orthanc.

The calls are the guide's. What its reader edits is edited: host, key, addresses and placeholders, and `base_url`. It is
run with its `monai_vista3d`, whose network is narrow and untrained here, and which is taught a label of its own
besides, and with the sample bundle's `monai_segmentation`.
"""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import requests
import torch
from dicomweb_client import DICOMwebClient
from dicomweb_client.session_utils import create_session_from_user_pass
from monai.networks.nets import vista3d132

from tasks.images.sample.write import SampleCase, write_cases
from tasks.images.volume import read_volume
from tasks.labels.forms.write import write_seg
from tests.bundles import narrow
from tests.fixtures_installation import Installation
from tests.fixtures_orthanc import PASSWORD, USER, Orthanc, running_orthanc
from tests.privacy import identifiers, leaks, pixels
from tests.processes import wait_until

LABELS = {"1": "liver", "2": "kidney", "3": "spleen", "4": "pancreas", "5": "right kidney"}
OWN, DRAWN_AS = 133, 3
"""A label that VISTA-3D's table does not name, and the truth's value that is drawn as it."""
CASES = 4
SPACING_MM = 6
VISTA3D = "monai_vista3d"
# What the original merges under every `train_spec` of VISTA-3D, and what its users have to say besides.
OF_VISTA3D = {
    "config_file": ["configs/train.json", "configs/train_continual.json"],
    "label_mappings": "$default_monai_label_mapping",
    "n_train_samples": 10,
    "n_val_samples": 10,
}
POLL_S = 0.5


@dataclass(frozen=True)
class Hospital:
    """A DICOMweb server with unlabelled series, and what an annotator would draw on each."""

    orthanc: Orthanc
    cases: dict[str, SampleCase]

    def draw(self, series_uid: str, labels: dict[str, str]) -> str:
        """Upload a DICOM SEG for a series; return its own series."""
        case = self.cases[series_uid]
        assert case.truth is not None
        path = case.truth.with_suffix(".dcm")
        series = [pydicom.dcmread(file, stop_before_pixels=True) for file in sorted(case.image.glob("*.dcm"))]
        names = {int(value): name for value, name in labels.items()}
        drawn = read_volume(case.truth)
        if OWN in names:
            drawn = replace(drawn, array=np.where(drawn.array == DRAWN_AS, OWN, drawn.array))
        write_seg(drawn, names, series, path, label_id=series_uid, author="ann", origin="MANUAL")
        seg = pydicom.dcmread(path)
        self.store([seg])
        return str(seg.SeriesInstanceUID)

    def store(self, instances: list[pydicom.FileDataset]) -> None:
        session = create_session_from_user_pass(USER, PASSWORD)
        DICOMwebClient(self.orthanc.dicomweb, session=session).store_instances(instances)


@pytest.fixture
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hospital]:
    folder = tmp_path_factory.mktemp("hospital")
    written = write_cases(folder / "images", folder / "truth", count=CASES, seed=5, spacing_mm=SPACING_MM, form="dicom")
    with running_orthanc(tmp_path_factory.mktemp("orthanc"), auth=(USER, PASSWORD)) as orthanc:
        found = Hospital(orthanc, {str(case.series_uid): case for case in written.cases})
        for case in written.cases:
            found.store([pydicom.dcmread(file) for file in case.image.glob("*.dcm")])
        yield found


@dataclass
class Notebook:
    """The guide's variables."""

    base_url: str
    headers: dict[str, str]
    arch: str
    dataset_id: str = ""
    experiment_id: str = ""
    cl_job_id: str = ""
    inference_image_id: str = ""

    @property
    def labels(self) -> dict[str, str]:
        return {**LABELS, str(OWN): "my organ"} if self.arch == VISTA3D else LABELS

    def job(self) -> dict[str, Any]:
        endpoint = f"{self.base_url}/experiments/{self.experiment_id}/jobs/{self.cl_job_id}"
        response = requests.get(endpoint, headers=self.headers, timeout=60)
        assert response.status_code == 200, f"Failed to get job status, got {response.json()}."
        found: dict[str, Any] = response.json()
        return found


@pytest.mark.slow
@pytest.mark.parametrize("arch", [VISTA3D, "monai_segmentation"])
def test_the_guides_calls_teach_a_model_in_two_rounds(
    installation: Installation, hospital: Hospital, tmp_path: Path, arch: str
) -> None:
    if arch == VISTA3D:
        fetch_weights(installation, tmp_path)
    notebook = authenticate(installation.address, installation.key, arch)
    create_dataset(notebook, hospital.orthanc.dicomweb)
    create_experiment(notebook)
    start_continual_learning(notebook)
    wait_for_running(notebook)
    labelled = set()
    for finished in (1, 2):
        run_inference(notebook)
        if notebook.arch == VISTA3D and finished == 1:
            own_labels_are_found_by_clicks(notebook)
        labelled.add(notebook.inference_image_id)
        notify(notebook, hospital.draw(notebook.inference_image_id, notebook.labels))
        wait_for_round(notebook, finished)
    assert len(labelled) == 2
    wait_until(lambda: notebook.job()["status"] == "Done", "the annotation job to be done")
    nothing_identifying_was_written(installation, hospital)
    stop_continual_learning(notebook)
    stop_realtime(notebook)


def nothing_identifying_was_written(installation: Installation, hospital: Hospital) -> None:
    """Two rounds, inference, credentials and labels later: no name, id, UID, password, key or path of an image."""
    files = [file for case in hospital.cases.values() for file in case.image.glob("*.dcm")]
    segs = [path for case in hospital.cases.values() if case.truth for path in case.truth.parent.glob("*.dcm")]
    planted = identifiers([*files, *segs])
    assert len(planted) > len(files)
    folders = {str(case.image) for case in hospital.cases.values()}
    assert leaks(installation, [*planted, *folders, PASSWORD, installation.key, hospital.orthanc.dicomweb]) == []
    assert leaks(installation, ["monai_cloud.jobs.create_job"]) != [], "the search finds what is there"
    series = [sorted(case.image.glob("*.dcm")) for case in hospital.cases.values()]
    slices = [pydicom.dcmread(each[len(each) // 2]).pixel_array for each in series]
    assert pixels(installation.home, slices) == [], "Prefect and MLflow hold no voxel"


def fetch_weights(installation: Installation, folder: Path) -> None:
    """Register VISTA-3D with weights, as `teachback bundles pull vista3d` does once it has fetched them."""
    bundle = narrow(folder / "vista3d", spacing_mm=SPACING_MM)
    metadata = bundle / "configs" / "metadata.json"
    metadata.write_text(metadata.read_text().replace("random(0)", "pull(vista3d)"))
    (bundle / "models").mkdir()
    torch.manual_seed(0)
    torch.save(vista3d132(encoder_embed_dim=8).state_dict(), bundle / "models" / "model.pt")
    with installation.client() as client:
        registered = client.post("/api/teachback/v1/bundles", json={"source": str(bundle)})
    assert registered.status_code == 201, registered.text
    assert registered.json()["bundle"]["tier"] == "A"


def authenticate(host_url: str, ngc_api_key: str, arch: str) -> Notebook:
    data = json.dumps({"ngc_api_key": ngc_api_key})
    response = requests.post(f"{host_url}/api/v1/login", data=data, timeout=60)
    assert response.status_code == 201, f"Login failed with status code: {response.status_code}"
    user_details = response.json()
    user_id, token = user_details["user_id"], user_details["token"]
    return Notebook(f"{host_url}/api/v1/users/{user_id}", {"Authorization": f"Bearer {token}"}, arch)


def create_dataset(notebook: Notebook, dicom_web_endpoint: str) -> None:
    data = {
        "name": "mydataset",
        "description": "a demo dataset",
        "type": "semantic_segmentation",
        "format": "monai",
        "client_url": f"{dicom_web_endpoint}",
        "client_id": f"{USER}",
        "client_secret": f"{PASSWORD}",
    }
    response = requests.post(f"{notebook.base_url}/datasets", json=data, headers=notebook.headers, timeout=60)
    assert response.status_code == 201, f"Create dataset failed, got {response.json()}."
    notebook.dataset_id = response.json()["id"]


def create_experiment(notebook: Notebook) -> None:
    endpoint = f"{notebook.base_url}/experiments"
    response = requests.get(endpoint, headers=notebook.headers, timeout=60)
    assert response.status_code == 200, f"List Base Experiment failed, got {response.json()}."
    res = response.json()
    base = next(p for p in res if p["network_arch"] == notebook.arch and not len(p["base_experiment"]))["id"]
    data = {
        "name": "my_vista",
        "description": "based on vista",
        "network_arch": notebook.arch,
        "base_experiment": [base],
        "inference_dataset": notebook.dataset_id,
        "eval_dataset": notebook.dataset_id,
        "train_datasets": [notebook.dataset_id],
        "realtime_infer": True,
        "model_params": {"labels": notebook.labels},
    }
    response = requests.post(endpoint, json=data, headers=notebook.headers, timeout=120)
    assert response.status_code == 201, f"Create experiment failed, got {response.json()}."
    res = response.json()
    notebook.experiment_id = res["id"]
    assert res["network_arch"] == notebook.arch


def start_continual_learning(notebook: Notebook) -> None:
    train_spec = {
        "epochs": 2,
        "val_interval": 1,
        **(OF_VISTA3D if notebook.arch == VISTA3D else {}),
    }
    data = {
        "action": "annotation",
        "specs": {
            "round_size": 1,
            "stop_criteria": {
                "max_rounds": 2,
                "key_metric": 0.9,
            },
            "train_spec": train_spec,
        },
    }
    endpoint = f"{notebook.base_url}/experiments/{notebook.experiment_id}/jobs"
    response = requests.post(endpoint, json=data, headers=notebook.headers, timeout=60)
    assert response.status_code == 201, f"Run job failed, got {response.json()}."
    notebook.cl_job_id = response.json()


def wait_for_running(notebook: Notebook) -> None:
    status = "Pending"
    for _ in range(60):
        status = notebook.job()["status"]
        if status == "Running":
            break
        time.sleep(POLL_S)
    assert status == "Running"


def run_inference(notebook: Notebook) -> None:
    endpoint = f"{notebook.base_url}/datasets/{notebook.dataset_id}/jobs"
    response = requests.post(endpoint, json={"action": "nextimage"}, headers=notebook.headers, timeout=60)
    assert response.status_code == 201, f"Recommend image failed, got {response.json()}."
    notebook.inference_image_id = response.json()["image"]
    response = infer(notebook, label_prompt=list(range(1, 118)))
    assert response.status_code == 201, f"Run inference failed, got {response.json()}."
    assert response.headers["Content-Type"].startswith("multipart/form-data")
    assert b"\r\n\r\nNRRD0004\n" in response.content


def infer(notebook: Notebook, **params: object) -> requests.Response:
    data = {"action": "inference", "specs": {"image": notebook.inference_image_id, "bundle_params": params}}
    endpoint = f"{notebook.base_url}/experiments/{notebook.experiment_id}/jobs"
    return requests.post(endpoint, json=data, headers=notebook.headers, timeout=120)


def own_labels_are_found_by_clicks(notebook: Notebook) -> None:
    """Nothing has been published: what the table does not name is found around clicks, and no other way."""
    clicked = infer(notebook, label_prompt=[OWN], points=[[5, 5, 5]], point_labels=[1])
    assert clicked.status_code == 201, clicked.text
    assert b"\r\n\r\nNRRD0004\n" in clicked.content
    automatic = infer(notebook, label_prompt=[OWN])
    assert automatic.status_code == 400
    assert f"Not learnt yet: my organ ({OWN}); click on it" in automatic.json()["error_desc"]


def notify(notebook: Notebook, label_id: str) -> None:
    data = {
        "action": "notify",
        "specs": {
            "added": {
                "image": notebook.inference_image_id,
                "label": label_id,
            },
            "updated": [],
            "removed": [],
        },
    }
    endpoint = f"{notebook.base_url}/datasets/{notebook.dataset_id}/jobs"
    response = requests.post(endpoint, json=data, headers=notebook.headers, timeout=60)
    assert response.status_code == 201, response.json()


def wait_for_round(notebook: Notebook, number: int) -> None:
    def done() -> bool:
        job = notebook.job()
        assert job["status"] in {"Running", "Done"}, job
        return int(job["result"]["rounds_done"]) >= number

    wait_until(done, f"round {number} to end")


def stop_continual_learning(notebook: Notebook) -> None:
    endpoint = f"{notebook.base_url}/experiments/{notebook.experiment_id}/jobs/{notebook.cl_job_id}:cancel"
    response = requests.post(endpoint, headers=notebook.headers, timeout=60)
    assert response.status_code == 200, f"cancel job failed, got {response.json()}."
    assert notebook.job()["status"] == "Done"


def stop_realtime(notebook: Notebook) -> None:
    endpoint = f"{notebook.base_url}/experiments/{notebook.experiment_id}"
    data = {"realtime_infer": False}
    response = requests.patch(endpoint, json=data, headers=notebook.headers, timeout=60)
    assert response.status_code == 200, f"stop job failed, got {response.json()}."
    response = requests.patch(endpoint, json={"realtime_infer": True}, headers=notebook.headers, timeout=60)
    assert response.status_code == 400

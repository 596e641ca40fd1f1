"""Guide 002, `Real-time Inference on a Custom MONAI Bundle`, call by call; then a whole loop that learns classes.

The calls are the guide's, in its order, with its assertions. What its reader edits is edited: host, key, addresses.
"""

import io
import json
import subprocess
import threading
import zipfile
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import requests
from requests_toolbelt.multipart.decoder import MultipartDecoder

from tests.bundles import narrow_classifier, picture
from tests.fixtures_installation import UP, Installation
from tests.fixtures_objects import Bucket, new_bucket
from tests.processes import wait_until

PICTURES = 24
FILE = "realtime_inference_predictions.csv"
LEARNT = ("in body", "out body")


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def bundle_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The bundle as a zip on a server of this machine."""
    folder = tmp_path_factory.mktemp("site")
    bundle = narrow_classifier(folder / "endoscopic_inbody_classification")
    archive = folder / "endoscopic_inbody_classification_v0.4.6.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        for path in bundle.rglob("*.*"):
            packed.write(path, path.relative_to(folder))
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/{archive.name}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def container(request: pytest.FixtureRequest) -> tuple[Bucket, str]:
    """A container with pictures, PNG and JPEG, of which the first six are labelled; and its address."""
    bucket = new_bucket("azure", request)
    entries = []
    for number in range(PICTURES):
        form = "jpeg" if number % 3 else "png"
        with io.BytesIO() as content:
            picture(number, number % 2).save(content, form, **({"quality": 95} if number % 3 else {}))
            bucket.put(f"frames/{number}.{form}", content.getvalue())
        entry: dict[str, object] = {"image": {"path": [f"frames/{number}.{form}"], "id": f"frame-{number}"}}
        entries.append({**entry, "label": number % 2} if number < 6 else entry)
    return bucket, bucket.manifest(*entries, label_key=["label"])


def key_of_the_guide(installation: Installation) -> str:
    """Return a key of the organisation that stands in the guide's addresses; it registers a bundle, as admins may."""
    command = [UP[0], "keys", "create", "--home", str(installation.home), "--name", "reader", "--role", "admin"]
    made = subprocess.run([*command, "--org", "iasixjqzw1hj"], capture_output=True, text=True, check=True)
    return made.stdout.strip()


@pytest.mark.slow
def test_the_guides_calls_in_order(
    installation: Installation, container: tuple[Bucket, str], bundle_url: str, tmp_path: Path
) -> None:
    bucket, container_url = container
    host_url, ngc_api_key = installation.address, key_of_the_guide(installation)
    inference_image_id = "frame-9"

    data: Any = json.dumps({"ngc_api_key": ngc_api_key})
    response = requests.post(f"{host_url}/api/v1/login", data=data, timeout=60)
    assert response.status_code == 201, f"Login failed, got status code: {response.status_code}."
    assert "user_id" in response.json()
    assert "token" in response.json()
    token = response.json()["token"]
    base_url = f"{host_url}/api/v1/orgs/iasixjqzw1hj"
    headers = {"Authorization": f"Bearer {token}"}

    data = {
        "name": "MONAI_CLOUD",
        "description": "Object storage dataset",
        "type": "semantic_segmentation",
        "format": "monai",
        "client_url": container_url,
        **bucket.credentials,
    }
    response = requests.post(f"{base_url}/datasets", json=data, headers=headers, timeout=120)
    assert response.status_code == 201, f"Create dataset failed, got {response.json()}."
    dataset_id = response.json()["id"]

    data = {
        "name": "my_inbody_clf",
        "description": "from MONAI model zoo",
        "network_arch": "monai_custom",
        "train_datasets": [dataset_id],
        "eval_dataset": dataset_id,
        "realtime_infer": True,
        "bundle_url": bundle_url,
        "model_params": {"override": {"output_filename": FILE}},
    }
    response = requests.post(f"{base_url}/experiments", json=data, headers=headers, timeout=240)
    assert response.status_code == 201, f"Create experiment failed, got {response.json()}."
    res = response.json()
    experiment_id = res["id"]
    assert res["network_arch"] == "monai_custom"
    assert res["model_params"]["labels"] == dict(zip("01", LEARNT, strict=True))

    data = {"action": "cacheimage", "specs": {"image": inference_image_id}}
    response = requests.post(f"{base_url}/datasets/{dataset_id}/jobs", json=data, headers=headers, timeout=60)
    assert response.status_code == 201, f"cache image failed, got {response.json()}."

    data = {"action": "inference", "specs": {"image": inference_image_id}}
    response = requests.post(f"{base_url}/experiments/{experiment_id}/jobs", json=data, headers=headers, timeout=120)
    assert response.status_code == 201, f"Run inference failed, got {response.json()}."

    multipart_data = MultipartDecoder.from_response(response)
    for part in multipart_data.parts:
        filename = part.headers[b"Content-Disposition"].decode().split(";")[1].split("=")[1].strip('"')
        (tmp_path / filename).write_bytes(part.content)
    [line] = (tmp_path / FILE).read_text().splitlines()
    named, *chances = line.split(",")
    assert named == inference_image_id
    assert sum(map(float, chances)) == pytest.approx(1, abs=1e-5)
    assert len(chances) == 2

    response = requests.patch(
        f"{base_url}/experiments/{experiment_id}", json={"realtime_infer": False}, headers=headers, timeout=120
    )
    assert response.status_code == 200, f"stop job failed, got {response.json()}."

    response = requests.delete(f"{base_url}/experiments/{experiment_id}", headers=headers, timeout=60)
    assert response.status_code == 200, f"Delete experiment failed, got {response.json()}."
    response = requests.delete(f"{base_url}/datasets/{dataset_id}", headers=headers, timeout=60)
    assert response.status_code == 200, f"Delete dataset failed, got {response.json()}."


@pytest.mark.slow
def test_classes_that_people_say_train_a_model_that_is_published_and_served(
    installation: Installation, container: tuple[Bucket, str], bundle_url: str
) -> None:
    bucket, url = container
    with installation.client() as client:

        def call(method: str, path: str, **body: Any) -> Any:
            response = client.request(method, f"{installation.base_url}{path}", json=body or None)
            assert response.status_code in {200, 201}, response.text
            return response.json()

        def told(image: str) -> tuple[str, str]:
            body = {"action": "inference", "specs": {"image": image}}
            response = client.post(f"{installation.base_url}/experiments/{experiment}/jobs", json=body)
            assert response.status_code == 201, response.text
            _image, *chances = response.text.splitlines()[3].split(",")
            return LEARNT[chances.index(max(chances, key=float))], response.headers["X-Teachback-Version"]

        def say(image: str, of_class: object) -> Any:
            file = io.BytesIO(json.dumps({"class": of_class}).encode())
            place = f"{installation.address}/label/frames/datastore/label"
            return client.put(place, params={"image": image}, files={"label": ("label.json", file)})

        dataset = call("POST", "/datasets", name="frames", client_url=url, **bucket.credentials)["id"]
        experiment = call(
            "POST",
            "/experiments",
            name="in or out",
            network_arch="monai_custom",
            bundle_url=bundle_url,
            train_datasets=[dataset],
            eval_dataset=dataset,
            realtime_infer=True,
        )["id"]
        _, before = told("frame-23")
        # Judged at the end alone: of few pictures an early network tells all by luck, and the first best one is kept.
        train = {"epochs": 40, "val_interval": 40, "batch_size": 4, "learning_rate": 0.003}
        specs = {"round_size": 14, "stop_criteria": {"max_rounds": 1}, "train_spec": train}
        job = call("POST", f"/experiments/{experiment}/jobs", action="annotation", specs=specs)

        labelled = []
        for _ in range(14):
            image = call("POST", f"/datasets/{dataset}/jobs", action="nextimage")["image"]
            saved = say(image, int(image.rpartition("-")[2]) % 2)
            assert saved.status_code == 200, saved.text
            labelled.append(image)
        assert len(set(labelled)) == 14
        assert not {f"frame-{number}" for number in range(6)} & set(labelled), "the manifest labels these"

        place = f"/experiments/{experiment}/jobs/{job}"
        wait_until(lambda: call("GET", place)["status"] in {"Done", "Error"}, "the round to end")
        [round_] = [one for one in call("GET", f"/experiments/{experiment}/jobs") if one["parent_id"] == job]
        assert round_["result"]["decision"] == "published", round_["result"]
        assert round_["result"]["metric_name"] == "val_accuracy"
        [cohort] = round_["result"]["stats"]["cohorts"]
        assert set(cohort["challenger"]["per_label"]) <= set(LEARNT)
        assert cohort["challenger"]["mean"] >= cohort["published"]["mean"]

        wait_until(lambda: told("frame-23")[1] != before, "the server to serve the published version")
        unseen = [f"frame-{number}" for number in range(6, PICTURES) if f"frame-{number}" not in labelled]
        right = [told(image)[0] == LEARNT[int(image.rpartition("-")[2]) % 2] for image in unseen]
        assert sum(right) >= len(right) - 1, right

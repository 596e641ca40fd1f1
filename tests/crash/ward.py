"""A ward of an installation, as its annotators and operators see it, and where its rounds' processes are."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import psutil

from infra.adapters.catalog.session import Catalog
from infra.adapters.catalog.tables import Attempt, Job
from tasks.compute.training.checkpoint import load
from tests.fixtures_installation import Installation, command
from tests.processes import wait_until

PREFECT, MLFLOW = ("prefect", "server", "start"), ("infra.adapters.tracking",)
STEPS = 60  # of a round's training: enough to kill something before its end
CASES = 12  # each round that is started labels another one; a backup is taken while the last two are
CLOUD = "/api/v1/orgs/local"
NATIVE = "/api/teachback/v1"


@dataclass
class Ward:
    """What the tests of this folder call and watch. Every label of an image makes a round due."""

    installation: Installation
    client: httpx.Client
    catalog: Catalog
    truth: Path
    dataset: str
    experiment: str
    numbers: Iterator[int] = field(default_factory=lambda: count(1))
    _epochs: dict[str, int] = field(default_factory=dict)

    def start_round(self, times: int = 1) -> str:
        """Start a loop of one round and label one more image; return the round's job.

        With each round there is one case more to train on, so its epochs become fewer; *times* as many if need be.
        """
        number = next(self.numbers)
        epochs = times * STEPS // number
        specs = {
            "round_size": 1,
            "stop_criteria": {"max_rounds": 1},
            "train_spec": {"epochs": epochs},
            "publish": "auto",
        }
        body = {"action": "annotation", "specs": specs}
        loop = answer(self.client.post(f"{CLOUD}/experiments/{self.experiment}/jobs", json=body), 201)
        answer(save_label(self.client, self.dataset, self.truth, number), 200)
        (job,) = [str(round_["job_id"]) for round_ in self.rounds() if round_["loop_id"] == loop]
        self._epochs[job] = epochs
        return job

    def rounds(self) -> list[dict[str, Any]]:
        found = answer(self.client.get(f"{NATIVE}/rounds", params={"experiment": self.experiment}), 200)
        return list(found["rounds"])

    def round(self, job: str) -> dict[str, Any]:
        return next(round_ for round_ in self.rounds() if round_["job_id"] == job)

    def has_trained_all_epochs(self, job: str) -> bool:
        """Say whether the round's training went on to the last epoch that was asked for."""
        shown = answer(self.client.get(f"{CLOUD}/experiments/{self.experiment}/jobs/{job}"), 200)
        return int(shown["result"]["epoch"]) == self._epochs[job]

    def loop_status(self, job: str) -> str:
        loop = self.round(job)["loop_id"]
        return str(answer(self.client.get(f"{CLOUD}/experiments/{self.experiment}/jobs/{loop}"), 200)["status"])

    def models(self) -> dict[str, Any]:
        found: dict[str, Any] = answer(self.client.get(f"{NATIVE}/models", params={"experiment": self.experiment}), 200)
        return found

    def infer(self, number: int = 1) -> httpx.Response:
        body = {"action": "inference", "specs": {"image": key(number)}}
        return self.client.post(f"{CLOUD}/experiments/{self.experiment}/jobs", json=body)

    def slot(self) -> dict[str, Any]:
        slots = answer(self.client.get(f"{NATIVE}/status"), 200)["slots"]
        return next(slot for slot in slots if slot["experiment_id"] == self.experiment and slot["desired"])

    def wait_for_training(self, job: str) -> None:
        """Wait until the round's first attempt has a checkpoint to go on from, its training far from done."""
        wait_until(lambda: any(self._attempt(job, 1).glob("checkpoints/*.json")), "a checkpoint", step_s=0.1)
        assert self.round(job)["status"] == "Running"

    def wait_for_end(self, job: str) -> dict[str, Any]:
        """Wait until round and loop have ended; return the round."""
        wait_until(lambda: self.loop_status(job) not in {"Pending", "Running"}, "the loop to end")
        return self.round(job)

    def flow(self, job: str) -> psutil.Process:
        """Return the process of the round's flow run."""
        with self.catalog.read() as session:
            return psutil.Process(session.get_one(Attempt, (job, 1)).pid)

    def host(self, job: str) -> psutil.Process:
        """Return the bundle host that trains for the round: Python itself, inside whatever cage."""
        folder = str(self.installation.home / "work" / job / "1")
        hosts = [each for each in self.installation.processes("tasks.compute") if folder in " ".join(command(each))]
        return hosts[-1]

    def first_step(self, job: str, attempt: int) -> int:
        """Return the number of the first training step that an attempt tells of; counted over all attempts."""
        return min(self.steps(job, attempt))

    def last_step(self, job: str, attempt: int) -> int:
        """Return the number of the last training step of an attempt that left well: its checkpoint's."""
        newest = max(self._attempt(job, attempt).glob("checkpoints/*.ckpt"), key=lambda path: int(path.stem))
        return load(newest).steps

    def steps(self, job: str, attempt: int) -> list[int]:
        """Return the numbers of the training steps that an attempt tells of, in order."""
        lines = (self._attempt(job, attempt) / "events.jsonl").read_text().splitlines()
        return [int(event["step"]) for event in map(json.loads, lines) if event["name"] == "train_loss"]

    @contextmanager
    def killed(self, *words: str) -> Iterator[None]:
        """Kill the servers whose command line has these words, with their children; wait for others at the end."""
        before = self.installation.processes(*words)
        for server in before:
            for process in (*server.children(recursive=True), server):
                process.kill()
        gone = {server.pid for server in before}
        assert gone
        yield
        wait_until(
            lambda: {each.pid for each in self.installation.processes(*words)} - gone != set(), f"another {words}"
        )

    def tracked(self, job: str) -> bool:
        """Say whether MLflow has been told of the round's end."""
        try:
            said = self._ask_mlflow("runs/get", run_id=self._run(job))
        except httpx.TransportError:
            return False
        return said.is_success and said.json()["run"]["info"]["status"] == "FINISHED"

    def tracked_steps(self, job: str) -> list[int]:
        """Return the step of each point of the round's training loss that MLflow has."""
        asked = {"run_id": self._run(job), "metric_key": "train_loss", "max_results": "10000"}
        said = self._ask_mlflow("metrics/get-history", **asked)
        return sorted(int(point["step"]) for point in said.json()["metrics"])

    def publications(self, job: str) -> int:
        """Return how often the version that the round made was published."""
        models = self.models()
        (version,) = [version for version in models["versions"] if version["job_id"] == job]
        return [publication["version_id"] for publication in models["publications"]].count(version["id"])

    def _ask_mlflow(self, path: str, **asked: str) -> httpx.Response:
        port = json.loads((self.installation.home / "ports.json").read_text())["mlflow"]
        return httpx.get(f"http://127.0.0.1:{port}/api/2.0/mlflow/{path}", params=asked, timeout=30)

    def _run(self, job: str) -> str:
        with self.catalog.read() as session:
            return session.get_one(Job, job).tracking_run or ""

    def _attempt(self, job: str, attempt: int) -> Path:
        return self.installation.home / "artifacts" / "attempts" / job / str(attempt)


def outlives_both_servers(ward: Ward) -> None:
    """Kill Prefect's and MLflow's server in mid-round: neither round, labels nor inference notice."""
    job = ward.start_round(times=2)
    ward.wait_for_training(job)

    with ward.killed(*PREFECT), ward.killed(*MLFLOW):
        answered = ward.infer()
        assert answered.status_code == 201, answered.text
        assert answered.headers["X-Teachback-Version"] == ward.models()["published_version"]
        answer(save_label(ward.client, ward.dataset, ward.truth, 1), 200)

    round_ = ward.wait_for_end(job)
    assert (round_["status"], round_["decision"], round_["attempts"]) == ("Done", "published", 1), round_
    assert ward.publications(job) == 1
    wait_until(lambda: ward.tracked(job), "MLflow to be told of the end")
    assert ward.tracked_steps(job) == ward.steps(job, 1), "each point once"


def make_dataset(client: httpx.Client, folder: Path) -> str:
    """Register a folder of images."""
    body = {"name": folder.name, "type": "semantic_segmentation", "format": "monai", "client_url": str(folder)}
    return str(answer(client.post(f"{CLOUD}/datasets", json=body), 201)["id"])


def make_experiment(client: httpx.Client, train: str, judge: str, *, realtime: bool) -> str:
    """Make an experiment of the sample bundle."""
    bases = answer(client.get(f"{CLOUD}/experiments:base"), 200)
    body = {
        "name": "tissue",
        "network_arch": "monai_segmentation",
        "base_experiment": [next(base["id"] for base in bases if base["name"] == "sample")],
        "train_datasets": [train],
        "eval_dataset": judge,
        "realtime_infer": realtime,
    }
    return str(answer(client.post(f"{CLOUD}/experiments", json=body, timeout=200), 201)["id"])


def key(number: int) -> str:
    """Return the id of the sample image *number*."""
    return f"sample-{number:03}/t1"


def save_label(client: httpx.Client, dataset: str, truth: Path, number: int) -> httpx.Response:
    """Save the true label of the sample image *number*."""
    name = f"{key(number)}.nii.gz"
    with (truth / name).open("rb") as file:
        return client.put(
            f"/label/{dataset}/datastore/label", params={"image": key(number)}, files={"label": ("label.nii.gz", file)}
        )


def answer(response: httpx.Response, status: int) -> Any:
    """Return what was answered, which has to be of this status."""
    assert response.status_code == status, response.text
    return response.json()

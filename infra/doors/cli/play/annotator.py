"""An annotator at work: next image, the model's answer, the true label, save. Public routes, nothing else."""

import json
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from email import message_from_bytes
from pathlib import Path

import httpx
from pydantic import BaseModel

from configs.errors import NotFoundError, TeachbackError
from configs.states import TERMINAL
from infra.doors.cli.client import OURS, Client
from infra.doors.cli.play.cases import Cases, LabelMap, Score
from infra.doors.cli.studies import Named

_SEQUENCE = "X-Teachback-Sequence"
_INFERENCE_S = 120.0
_POLL_S = 0.5


class _Next(BaseModel):
    image: str


class JobResult(BaseModel):
    """How a job goes."""

    epoch: int = 0
    max_epoch: int = 0
    message: str = ""
    rounds_done: int | None = None
    pending: int | None = None
    round: int | None = None


class Job(BaseModel):
    """A job as the MONAI Cloud dialect shows it."""

    id: str
    parent_id: str | None = None
    status: str
    result: JobResult

    @property
    def ended(self) -> bool:
        """Whether nothing more comes."""
        return self.status in TERMINAL


class _Slot(BaseModel):
    experiment_id: str
    state: str
    serving_seq: int | None
    published_seq: int


class _Status(BaseModel):
    slots: list[_Slot]


@dataclass(frozen=True)
class Answer:
    """The model's answer on one image: Dice against the truth, which publication answered, and its label map."""

    score: Score
    sequence: int
    labels: LabelMap


@dataclass(frozen=True)
class Annotator:
    """Knows the true label of every image, and saves it after having looked at the model's answer."""

    client: Client
    cases: Cases
    dataset: Named
    experiment: Named

    def next_image(self) -> str | None:
        """Ask for an image to label; None when there is none left."""
        body = {"action": "nextimage", "specs": {"experiment": self.experiment.id}}
        try:
            answer = self.client.request("POST", self.client.cloud(f"datasets/{self.dataset.id}/jobs"), json=body)
        except NotFoundError:
            return None
        return self.client.get_as(_Next, answer).image

    def infer(self, image: str) -> Answer:
        """Have the realtime server segment *image*, and compare with the truth."""
        return self.infer_other(image, self.dataset, self.cases)

    def infer_other(self, image: str, dataset: Named, cases: Cases) -> Answer:
        """As `infer`, for an image of another data set."""
        body = {"action": "inference", "specs": {"image": image, "dataset_id": dataset.id}}
        path = self.client.cloud(f"experiments/{self.experiment.id}/jobs")
        answer = self.client.request("POST", path, json=body, timeout=_INFERENCE_S)
        with tempfile.TemporaryDirectory(prefix="teachback-demo-") as folder:
            file = Path(folder) / "answer.nrrd"
            file.write_bytes(_first_part(answer))
            labels = cases.read(image, file)
            return Answer(cases.score(image, labels), int(answer.headers.get(_SEQUENCE, "0")), labels)

    def save(self, image: str) -> None:
        """Save the true label, as every client without a PACS does; that is its notification, too."""
        names = [{"name": name, "idx": value} for value, name in self.cases.labels.items()]
        self.client.request(
            "PUT",
            f"/label/{self.dataset.id}/datastore/label",
            params={"image": image, "tag": "final"},
            data={"params": json.dumps({"label_info": names, "client_id": "teachback-demo"})},
            files={"label": ("label.nii.gz", self.cases.truth_file(image).read_bytes())},
        )

    def job(self, job_id: str) -> Job:
        """Return the annotation job as it is now."""
        path = self.client.cloud(f"experiments/{self.experiment.id}/jobs/{job_id}")
        return self.client.get_as(Job, self.client.request("GET", path))

    def open_round(self, job_id: str) -> Job | None:
        """Return the round that is under way, if one is."""
        path = self.client.cloud(f"experiments/{self.experiment.id}/jobs")
        rows = self.client.get_as(list[Job], self.client.request("GET", path))
        return next((row for row in rows if row.parent_id == job_id and not row.ended), None)

    def wait_swapped(self, *, within_s: float) -> None:
        """Wait until the experiment's realtime server serves what is published.

        Raises:
            TeachbackError: If it does not within that time.
        """
        give_up = time.monotonic() + within_s
        while True:
            status = self.client.get_as(_Status, self.client.request("GET", f"{OURS}/status"))
            mine = [slot for slot in status.slots if slot.experiment_id == self.experiment.id]
            if any(slot.serving_seq == slot.published_seq for slot in mine):
                return
            if time.monotonic() > give_up:
                raise TeachbackError(f"The realtime server does not serve the published model after {within_s:g} s.")
            time.sleep(_POLL_S)


def mean_score(answers: Mapping[str, Answer]) -> Score:
    """Return the mean over answers, label by label."""
    return Score.over(answer.score for answer in answers.values())


def _first_part(answer: httpx.Response) -> bytes:
    """The first file of a multipart reply."""
    head = f"Content-Type: {answer.headers['Content-Type']}\r\n\r\n".encode()
    for part in message_from_bytes(head + answer.content).walk():
        content = part.get_payload(decode=True)
        if isinstance(content, bytes) and not part.is_multipart():
            return content
    raise TeachbackError("The reply to inference had no part with a label map.")

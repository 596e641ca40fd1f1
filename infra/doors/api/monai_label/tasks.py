"""Tasks of this dialect: how trainings and batches are shown, and which of a data set's are."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel

from configs.errors import InvalidRequestError, NotFoundError
from configs.states import TERMINAL, TRAINING, JobStatus
from infra.adapters.catalog.tables import Job
from infra.services.learning.trainings import MOST, Training
from tasks.rounds.records.result import RoundResult

_ENDED = {JobStatus.DONE: "DONE", JobStatus.ERROR: "ERROR", JobStatus.CANCELED: "STOPPED"}


class Task(BaseModel):
    """A training or batch as clients of the original read it; times in UTC. `details` is empty only until it begins."""

    id: str
    status: str
    request: dict[str, Any]
    start_ts: str
    end_ts: str | None = None
    details: list[str] | None = None

    @classmethod
    def of(cls, training: Training) -> "Task":
        """Show one training."""
        job = training.job
        status = _ENDED.get(JobStatus(job.status), "RUNNING" if job.status in TRAINING else "SUBMITTED")
        told = [_progress(job), *filter(None, [job.message])]
        return cls(
            id=job.id,
            status=status,
            request={**job.request, "model": training.trainer},
            start_ts=_moment(job.created_at),
            end_ts=_moment(job.modified_at) if job.status in TERMINAL else None,
            details=None if status == "SUBMITTED" else told,
        )


class TaskQuery(BaseModel):
    """Which tasks: the newest, or with `all` the newest hundred; of these perhaps only what runs."""

    all: bool = False
    check_if_running: bool = False

    @property
    def most(self) -> int:
        """How many are asked for."""
        return MOST if self.all else 1

    def shown(self, found: Sequence[Training], kind: str) -> Task | list[Task]:
        """Show what was found, newest first.

        Raises:
            NoTaskError: If that is nothing; a 404, by which clients tell that nothing runs.
        """
        told = [Task.of(each) for each in found if each.runs or not self.check_if_running]
        if not told:
            raise NoTaskError(f"No {kind} Tasks {'are currently Running' if self.check_if_running else 'Found'}")
        return told if self.all else told[0]


class NoTaskError(NotFoundError):
    """There is no such task, in the original's words: its clients compare them."""

    def __init__(self, sentence: str) -> None:
        super().__init__("task", sentence)
        self._sentence = sentence

    def __str__(self) -> str:
        return self._sentence


def _progress(job: Job) -> str:
    if job.action != "train":
        return job.status
    result = RoundResult.model_validate(job.result)
    return f"{job.status}, epoch {result.epoch} of {result.max_epoch}"


def refuse_sync(run_sync: bool) -> None:
    """Refuse to answer only when it is done."""
    if run_sync:
        raise InvalidRequestError("run_sync is not offered, a task outlives a request: ask GET /train/ or /batch/infer")


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")

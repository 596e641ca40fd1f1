"""Tasks of this dialect: how trainings, batches and scorings are shown, and which of a data set's are."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel, ValidationError

from configs.errors import ConflictError, InvalidRequestError, NotFoundError
from configs.states import TERMINAL, TRAINING, JobStatus
from infra.adapters.catalog.tables import Dataset, Job
from infra.doors.api.errors import sentence
from infra.services.callers import Caller
from infra.services.learning.trainings import MOST, Training
from infra.wiring import Parts
from tasks.rounds.records.result import RoundResult

_ENDED = {JobStatus.DONE: "DONE", JobStatus.ERROR: "ERROR", JobStatus.CANCELED: "STOPPED"}


class Task(BaseModel):
    """A task as clients of the original read it; times in UTC. `details` is empty only until it begins."""

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


class Started(BaseModel):
    """What became of one trainer or method where all were asked for."""

    result: Task | None
    detail: str | None


def started(
    start: Callable[[Parts, Caller, Dataset, str, dict[str, Any]], Task],
    parts: Parts,
    caller: Caller,
    row: Dataset,
    name: str,
    body: dict[str, Any],
) -> Started:
    """Start one of several, or say why not: the others are started all the same."""
    try:
        return Started(result=start(parts, caller, row, name, body), detail=None)
    except ValidationError as error:
        return Started(result=None, detail=sentence(error.errors(include_url=False)))
    except (InvalidRequestError, NotFoundError, ConflictError) as error:
        return Started(result=None, detail=str(error))


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
        raise InvalidRequestError(
            "run_sync is not offered, a task outlives a request: ask GET /train/, /scoring/ or /batch/infer"
        )


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")

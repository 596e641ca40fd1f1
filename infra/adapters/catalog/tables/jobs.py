"""Jobs, rounds, their attempts and steps, and what a round counts."""

from typing import Any

from sqlalchemy import ForeignKey, Index, String, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column, validates

from configs.errors import ConflictError
from configs.states import TERMINAL, TRAINING, AttemptState, JobStatus, may_change
from infra.adapters.catalog.tables.base import HASH, ID, NAME, STATE, Base, new_id, now

_OPEN = f"status NOT IN ({', '.join(repr(str(status)) for status in sorted(TERMINAL))})"
_OPEN_ROUND = text(f"{_OPEN} AND parent_id IS NOT NULL")
_OPEN_LOOP = text(f"{_OPEN} AND action = 'annotation'")
_TRAINS = text(f"status IN ({', '.join(repr(str(status)) for status in sorted(TRAINING))}) AND action = 'train'")


class Job(Base):
    """One request to do work. A round is a `train` job with `parent_id` and `round_no`.

    The unique constraints hold what the rules promise, whatever the code does: a round number happens once, one
    round of a loop is open at a time, one loop of an experiment is open at a time, one training of it runs at a time.
    """

    __tablename__ = "job"
    __table_args__ = (
        UniqueConstraint("parent_id", "round_no"),
        Index("uq_job_open_round", "parent_id", unique=True, sqlite_where=_OPEN_ROUND, postgresql_where=_OPEN_ROUND),
        Index("uq_job_open_loop", "experiment_id", unique=True, sqlite_where=_OPEN_LOOP, postgresql_where=_OPEN_LOOP),
        Index("uq_job_training", "experiment_id", unique=True, sqlite_where=_TRAINS, postgresql_where=_TRAINS),
        Index("ix_job_dataset", "dataset_id", "action", "status"),
        Index("ix_job_experiment", "experiment_id", "created_at"),
        Index("ix_job_experiment_modified", "experiment_id", "modified_at"),
        Index("ix_job_org_modified", "org", "modified_at"),
        Index("ix_job_status", "status", "action"),
    )

    id: Mapped[str] = mapped_column(ID, primary_key=True, default=new_id)
    org: Mapped[str] = mapped_column(ForeignKey("organisation.id"))
    experiment_id: Mapped[str] = mapped_column(ForeignKey("experiment.id"))
    dataset_id: Mapped[str | None] = mapped_column(ForeignKey("dataset.id"))  # the one it trains on
    workspace_id: Mapped[str | None] = mapped_column(ForeignKey("workspace.id"))  # where its results were also written
    action: Mapped[str] = mapped_column(STATE)  # annotation | train
    status: Mapped[str] = mapped_column(STATE, default=JobStatus.PENDING)
    parent_id: Mapped[str | None] = mapped_column(ForeignKey("job.id"))
    after_id: Mapped[str | None] = mapped_column(ForeignKey("job.id"))  # it starts once that one is Done
    round_no: Mapped[int | None]
    current_attempt: Mapped[int] = mapped_column(default=1)
    name: Mapped[str] = mapped_column(NAME, default="")
    description: Mapped[str] = mapped_column(Text, default="")
    platform: Mapped[str] = mapped_column(STATE, default="")  # as the caller said; nothing here reads it
    spec: Mapped[dict[str, Any]] = mapped_column(default=dict)  # AnnotationSpec, or TrainSpec with publish and gate
    request: Mapped[dict[str, Any]] = mapped_column(default=dict)  # `specs` as the caller sent them, secrets replaced
    message: Mapped[str] = mapped_column(Text, default="")
    result: Mapped[dict[str, Any]] = mapped_column(default=dict)  # tasks.rounds.records.result.RoundResult

    round_size: Mapped[int | None]
    pending: Mapped[int] = mapped_column(default=0)  # rows of pending_image
    rounds_done: Mapped[int] = mapped_column(default=0)
    best_metric: Mapped[float | None]
    failures: Mapped[int] = mapped_column(default=0)

    to_seq: Mapped[int | None]  # this round trains on labels up to this number
    snapshot: Mapped[str | None] = mapped_column(HASH)
    due_at: Mapped[float | None]  # when the last label that made it due was counted
    first_step_at: Mapped[float | None]  # when the first training step ended
    tracking_run: Mapped[str | None] = mapped_column(String(64))
    events_sent: Mapped[int] = mapped_column(default=0)  # offset in events.jsonl that MLflow has

    created_by: Mapped[str] = mapped_column(NAME, default="")
    created_at: Mapped[float] = mapped_column(default=now())
    modified_at: Mapped[float] = mapped_column(default=now(), onupdate=now())
    deleted_at: Mapped[float | None]

    @validates("status")
    def _takes_an_allowed_way(self, _name: str, after: str) -> str:
        """Refuse a change that `configs.states` has not got: its caller looked before it held the row."""
        before: str | None = self.status  # None: the job is just being made
        if before is not None and not may_change(JobStatus(before), JobStatus(after)):
            raise ConflictError(f"A job that is {before} does not become {after}: look at it again")
        return after


class Attempt(Base):
    """One numbered try at a job: only the current, claimed one may write."""

    __tablename__ = "attempt"
    __table_args__ = (Index("ix_attempt_state", "state", "lease_until"),)

    job_id: Mapped[str] = mapped_column(ForeignKey("job.id"), primary_key=True)
    n: Mapped[int] = mapped_column(primary_key=True)
    state: Mapped[str] = mapped_column(STATE, default=AttemptState.QUEUED)
    holder: Mapped[str] = mapped_column(ID, default="")
    lease_until: Mapped[float | None]
    flow_run_id: Mapped[str | None] = mapped_column(ID)
    host: Mapped[str] = mapped_column(NAME, default="")  # machine and process that hold it, to end an orphan
    pid: Mapped[int | None]
    progress: Mapped[int] = mapped_column(default=0)  # checkpoints and marks so far: a retry without progress counts
    error: Mapped[str] = mapped_column(Text, default="")
    created_at: Mapped[float] = mapped_column(default=now())
    claimed_at: Mapped[float | None]
    born: Mapped[str] = mapped_column(NAME, default="")  # when that process began, whatever the clock does since


class StepMark(Base):
    """A finished step of a job: a later attempt takes its output and goes on."""

    __tablename__ = "step_mark"

    job_id: Mapped[str] = mapped_column(ForeignKey("job.id"), primary_key=True)
    step: Mapped[str] = mapped_column(String(32), primary_key=True)
    output: Mapped[str] = mapped_column(HASH)  # blob
    attempt: Mapped[int]
    at: Mapped[float] = mapped_column(default=now())


class PendingImage(Base):
    """An image that counts towards the job's next round; once, however often its label is updated."""

    __tablename__ = "pending_image"

    job_id: Mapped[str] = mapped_column(ForeignKey("job.id"), primary_key=True)
    image_id: Mapped[int] = mapped_column(ForeignKey("image.id"), primary_key=True, index=True)


class PatientSide(Base):
    """Where a patient's cases go in a lineage; written once, never changed."""

    __tablename__ = "patient_side"

    lineage: Mapped[str] = mapped_column(ID, primary_key=True)
    patient_key: Mapped[str] = mapped_column(HASH, primary_key=True)
    side: Mapped[str] = mapped_column(STATE)
    at: Mapped[float] = mapped_column(default=now())


class Decision(Base):
    """What was decided about a job's challenger when it was not published."""

    __tablename__ = "decision"

    job_id: Mapped[str] = mapped_column(ForeignKey("job.id"), primary_key=True)
    outcome: Mapped[str] = mapped_column(STATE)  # kept_back | review | skipped
    reason: Mapped[str] = mapped_column(Text)
    verdict: Mapped[dict[str, Any]] = mapped_column(default=dict)
    at: Mapped[float] = mapped_column(default=now())

"""Jobs: the annotation loop and single trainings; asked for, watched, cancelled."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from configs.errors import ConflictError, InvalidRequestError, NotFoundError
from configs.specs.annotation import AnnotationSpec
from configs.specs.batch import BatchSpec
from configs.specs.round import RoundSpec, SpecChange
from configs.states import TERMINAL
from infra.adapters.catalog import audit
from infra.adapters.catalog import experiments as catalog
from infra.adapters.catalog import jobs as job_catalog
from infra.adapters.catalog.repeats import made_before
from infra.adapters.catalog.tables import Attempt, Experiment, Job
from infra.adapters.catalog.tables.base import now
from infra.services.callers import Caller, Right, allow
from infra.services.learning.archs import actions_of, reason_of
from infra.services.listing import Cut, Page
from infra.wiring import Parts
from tasks.batch.start import start_batch
from tasks.reconcile.loop import wake
from tasks.rounds.jobs import pause as pausing
from tasks.rounds.jobs.cancel import cancel as cancel_job
from tasks.rounds.jobs.secrets import Sealer
from tasks.rounds.jobs.start import start_annotation, start_train
from tasks.rounds.steps import tracked

# The end of a log says why a job failed; all of it may be gigabytes.
LOG_BYTES = 2**20


@dataclass(frozen=True)
class Asked:
    """What a caller says besides the spec: shown again. `after`: a job that has to be Done first."""

    name: str = ""
    description: str = ""
    specs: Mapping[str, Any] = field(default_factory=dict)
    after: str | None = None
    platform: str = ""


def annotate(parts: Parts, caller: Caller, experiment_id: str, spec: AnnotationSpec, asked: Asked) -> str:
    """Start the experiment's continual-learning loop and return its id.

    Raises:
        ForbiddenError: If the caller may not.
        NotFoundError: If there is no such experiment, or it names no data set for evaluation.
        InvalidRequestError: If it has not exactly one training data set, or its bundle cannot train.
        ConflictError: If another loop of it is open.
    """
    allow(caller, Right.RUN_JOBS)
    tracked.check(parts, spec.train_spec)

    def start(session: Session, experiment: Experiment) -> Job:
        """Make the loop's row, with its secrets in the vault."""
        if not catalog.uses(session, [experiment.id])[experiment.id].get("eval"):
            raise _NoEvaluationError(experiment.id)
        kept = Sealer(parts, session, caller.org)
        safe, request = kept.spec(spec), kept.values(asked.specs)
        return start_annotation(session, experiment, safe, actor=caller.subject, name=asked.name, request=request)

    return _start(parts, caller, experiment_id, "annotation", asked, start)


def train(parts: Parts, caller: Caller, experiment_id: str, spec: RoundSpec, asked: Asked) -> str:
    """Start one training on all labels so far and return its id; one that still waits is returned instead.

    Raises:
        ForbiddenError: If the caller may not.
        NotFoundError: If there is no such experiment.
        InvalidRequestError: If it has not exactly one training data set, or its bundle cannot train.
    """
    allow(caller, Right.RUN_JOBS)
    tracked.check(parts, spec.train)

    def start(session: Session, experiment: Experiment) -> Job:
        """Make the training's row, with its secrets in the vault, or find the one that waits."""
        kept = Sealer(parts, session, caller.org)
        safe, request = kept.spec(spec), kept.values(asked.specs)
        actor, name = caller.subject, asked.name
        return start_train(session, experiment, safe, actor=actor, name=name, request=request, after=asked.after)

    return _start(parts, caller, experiment_id, "train", asked, start)


def batch_infer(parts: Parts, caller: Caller, experiment_id: str, spec: BatchSpec, asked: Asked) -> str:
    """Have many images predicted and the predictions written as files; return the job's id.

    Raises:
        ForbiddenError: If the caller may not.
        NotFoundError: If there is no such experiment, data set, image or version.
        InvalidRequestError: If the experiment has no model yet, or no data set to predict on.
    """
    allow(caller, Right.RUN_JOBS)

    def start(session: Session, experiment: Experiment) -> Job:
        """Make the batch's row."""
        request = Sealer(parts, session, caller.org).values(asked.specs)
        actor, name = caller.subject, asked.name
        return start_batch(session, experiment, spec, actor=actor, name=name, request=request, after=asked.after)

    return _start(parts, caller, experiment_id, "batchinfer", asked, start)


def get(parts: Parts, caller: Caller, experiment_id: str, job_id: str) -> Job:
    """Return one job.

    Raises:
        NotFoundError: If the experiment has none of this id.
    """
    allow(caller, Right.READ)
    with parts.catalog.read() as session:
        return catalog.job(session, caller.org, experiment_id, job_id)


def listed(parts: Parts, caller: Caller, experiment_id: str | None, page: Page) -> Cut[Job]:
    """Return a page of the experiment's jobs; None = of all experiments of the organisation.

    Raises:
        NotFoundError: If there is no such experiment.
    """
    allow(caller, Right.READ)
    with parts.catalog.read() as session:
        wanted = None if experiment_id is None else catalog.get(session, caller.org, experiment_id).id
        rows, total = catalog.job_page(
            session, caller.org, wanted, order=page.sort, name=page.name, skip=page.skip or 0, size=page.size
        )
        return Cut(rows, total)


def cancel(parts: Parts, caller: Caller, experiment_id: str, job_id: str) -> Job:
    """Cancel a job and its open round; a finished one is left as it is.

    Raises:
        NotFoundError: If the experiment has none of this id.
    """

    def change(session: Session, job: Job) -> None:
        """Cancel it and its open round."""
        cancel_job(session, job.id, caller.subject)

    return _change(parts, caller, experiment_id, job_id, "cancel", change)


def pause(parts: Parts, caller: Caller, experiment_id: str, job_id: str) -> Job:
    """Let a loop's running round end and start none, labels counting on; let a training keep a checkpoint and leave.

    One that has ended or is paused is left as it is.

    Raises:
        NotFoundError: If the experiment has none of this id.
        InvalidRequestError: If it is being cancelled.
    """

    def change(session: Session, job: Job) -> None:
        """Ask it to pause."""
        pausing.pause(session, job.id)

    return _change(parts, caller, experiment_id, job_id, "pause", change)


def resume(
    parts: Parts,
    caller: Caller,
    experiment_id: str,
    job_id: str,
    *,
    round_now: bool = False,
    change: SpecChange | None = None,
    specs: Mapping[str, Any] | None = None,
) -> str:
    """Go on with a paused job; return what came of it as a sentence.

    `round_now` opens a round with the labels that wait, also of a running loop; labels that cancelled rounds had taken
    wait, too. `change` is what a training does otherwise from its last checkpoint on, `specs` how its caller said so.

    Raises:
        NotFoundError: If the experiment has none of this id.
        InvalidRequestError: If it is not paused, or cannot take what is asked.
    """
    if change is not None:
        tracked.check(parts, change.train)
    said: list[str] = []

    def resumed(session: Session, job: Job) -> None:
        """Let it go on, and keep what it says of itself."""
        kept = Sealer(parts, session, caller.org)
        other = None if change is None else kept.spec(change)
        said.append(pausing.resume(session, job.id, round_now=round_now, change=other))
        job.request = {**job.request, **kept.values(specs or {})}

    _change(parts, caller, experiment_id, job_id, "resume", resumed)
    return said[-1]


def remove(parts: Parts, caller: Caller, experiment_id: str, job_id: str) -> None:
    """Hide a job that has ended.

    Raises:
        NotFoundError: If the experiment has none of this id.
        ConflictError: If it has not ended.
    """

    def change(session: Session, job: Job) -> None:
        """Hide it; its id, audit and versions stay."""
        if job.status not in TERMINAL:
            raise ConflictError(f"The job cannot be deleted while it is {job.status}: cancel it first")
        job.deleted_at = session.scalar(select(now()))

    _change(parts, caller, experiment_id, job_id, "delete", change)


def log(parts: Parts, caller: Caller, experiment_id: str, job_id: str) -> str:
    """Return what the job's attempts wrote on this machine, redacted; at most the last MiB of each file.

    Raises:
        NotFoundError: If the experiment has no such job, or nothing was written yet.
    """
    allow(caller, Right.RUN_JOBS)
    with parts.catalog.read() as session:
        job = catalog.job(session, caller.org, experiment_id, job_id)
        wanted = [job.id, *(child.id for child in job_catalog.children(session, job.id))]
        query = select(Attempt).where(Attempt.job_id.in_(wanted)).order_by(Attempt.created_at, Attempt.n)
        attempts = session.scalars(query).all()
    lines = [line for attempt in attempts for line in _attempt_log(parts.settings.home, attempt)]
    if not lines:
        raise _NoLogError(job_id)
    return parts.redactor.redact("".join(lines))


class _NoLogError(NotFoundError):
    """There is a job, but no log of it yet."""

    def __init__(self, job_id: str) -> None:
        super().__init__("log of the job", job_id)

    def __str__(self) -> str:
        return "Logs for the job are not available yet."


class _NoEvaluationError(NotFoundError):
    """A loop is asked for and nothing says what it is judged on."""

    def __init__(self, experiment_id: str) -> None:
        super().__init__("evaluation data set of the experiment", experiment_id)

    def __str__(self) -> str:
        said = "Annotation job requires eval dataset in the model metadata."
        return f"{said} Set eval_dataset by PATCH; it may be the training data set: patients are kept apart."


def _start(
    parts: Parts,
    caller: Caller,
    experiment_id: str,
    action: str,
    asked: Asked,
    start: Callable[[Session, Experiment], Job],
) -> str:

    def started(session: Session) -> tuple[str, bool]:
        """Return the job's id, and whether it is new."""
        # Noted with the job itself: should the first answer be lost with its process, the id is known all the same.
        if (known := made_before(session)) is not None:
            return known, False
        experiment = catalog.get(session, caller.org, experiment_id)
        bundle = catalog.bundle(session, experiment.bundle_id)
        if action not in actions_of(bundle):
            why = reason_of(bundle)
            raise InvalidRequestError(
                f"Action {action!r} is not offered by this experiment: its bundle only infers. {why}"
            )
        if asked.after is not None and job_catalog.get(session, asked.after).org != caller.org:
            raise NotFoundError("job", asked.after)
        job = start(session, experiment)
        job.description = asked.description or job.description
        job.platform = asked.platform or job.platform
        audit.record(session, caller.org, caller.subject, f"job.{action}", job.id, experiment=experiment_id)
        return job.id, True

    job_id, new = parts.catalog.unit(started)
    if new:
        wake()
    return job_id


def _change(
    parts: Parts,
    caller: Caller,
    experiment_id: str,
    job_id: str,
    verb: str,
    change: Callable[[Session, Job], None],
) -> Job:
    allow(caller, Right.RUN_JOBS)

    def changed(session: Session) -> Job:
        """Change the job, and read back what the database made of it."""
        job = catalog.job(session, caller.org, experiment_id, job_id)
        change(session, job)
        audit.record(session, caller.org, caller.subject, f"job.{verb}", job_id)
        session.flush()
        session.refresh(job)
        return job

    job = parts.catalog.unit(changed)
    wake()
    return job


def _attempt_log(home: Path, attempt: Attempt) -> Sequence[str]:
    head = f"== {attempt.job_id} attempt {attempt.n}: {attempt.state} {attempt.error}\n"
    files = sorted((home / "work" / attempt.job_id / str(attempt.n)).glob("*/log.txt"))
    parts = [head]
    for file in files:
        with file.open("rb") as log_file:
            size = log_file.seek(0, 2)
            log_file.seek(max(0, size - LOG_BYTES))
            parts += [f"-- {file.parent.name}\n", log_file.read().decode(errors="replace"), "\n"]
    return parts if files or attempt.error else []

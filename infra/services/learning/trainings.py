"""Trainings, batches, scorings of a data set, whichever experiment of it they are for: asked for by name or stopped."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from sqlalchemy.orm import Session

from configs.errors import ConflictError
from configs.specs.batch import BatchSpec
from configs.specs.round import RoundSpec
from configs.specs.score import ScoringMethod
from configs.states import TERMINAL, TRAINING
from infra.adapters.catalog import audit
from infra.adapters.catalog import experiments as catalog
from infra.adapters.catalog.tables import Dataset, Job
from infra.services.callers import Caller, Right, allow
from infra.services.learning import by_dataset, jobs
from infra.services.learning.jobs import Asked
from infra.wiring import Parts
from tasks.reconcile.loop import wake
from tasks.rounds.jobs.secrets import Sealer
from tasks.selection.scoring import ACTION, start_scoring

MOST = 100
Action = Literal["train", "batchinfer", "scoring"]


@dataclass(frozen=True)
class Training:
    """A training, a round, a batch or a scoring, and the name of the experiment that it is for."""

    job: Job
    trainer: str

    @property
    def runs(self) -> bool:
        """Whether it has its turn; else it waits, or has ended."""
        return self.job.status in TRAINING


def start(parts: Parts, caller: Caller, dataset: Dataset, trainer: str, spec: RoundSpec, asked: Asked) -> Training:
    """Train an experiment of a data set, or join its training that waits to do the same.

    Raises:
        ForbiddenError: If the caller may not.
        NotFoundError: If no experiment of this name trains on the data set.
        InvalidRequestError: If the bundle cannot follow the spec.
    """
    allow(caller, Right.RUN_JOBS)
    experiment = by_dataset.trainer(parts, caller, dataset, trainer).experiment
    job_id = jobs.train(parts, caller, experiment.id, spec, asked)
    return Training(jobs.get(parts, caller, experiment.id, job_id), experiment.name)


def predict(parts: Parts, caller: Caller, dataset: Dataset, model: str, spec: BatchSpec, asked: Asked) -> Training:
    """Have many images of a data set predicted.

    Raises:
        ForbiddenError: If the caller may not.
        NotFoundError: If no experiment of this name uses the data set.
        ConflictError: If a batch of the data set is under way.
        InvalidRequestError: If the experiment has no model yet.
    """
    allow(caller, Right.RUN_JOBS)
    experiment = by_dataset.model(parts, caller, dataset, model).experiment
    running = newest(parts, caller, dataset, 1, action="batchinfer")
    if running and running[0].job.status not in TERMINAL:
        raise ConflictError(f"Batch {running[0].job.id} of this data set is under way: wait for it, or stop it first")
    job_id = jobs.batch_infer(parts, caller, experiment.id, spec, asked)
    return Training(jobs.get(parts, caller, experiment.id, job_id), experiment.name)


def score(parts: Parts, caller: Caller, dataset: Dataset, method: ScoringMethod, model: str, asked: Asked) -> Training:
    """Have a data set scored by one method, or join what waits or runs to do the same.

    Args:
        parts: The adapters.
        caller: Who asks.
        dataset: Whose images, or labels.
        method: How.
        model: An experiment of it; empty = the newest that has a model.
        asked: What the caller said besides, shown again.

    Raises:
        ForbiddenError: If the caller may not.
        NotFoundError: If no experiment of this name uses the data set.
        InvalidRequestError: If the experiment, or every one, has no model yet.
    """
    allow(caller, Right.RUN_JOBS)
    found = by_dataset.model(parts, caller, dataset, model) if model else by_dataset.newest(parts, caller, dataset)
    experiment = found.experiment

    def started(session: Session) -> str:
        """Make the job's row, or find the one that does the same."""
        request = Sealer(parts, session, caller.org).values(asked.specs)
        here = catalog.get(session, caller.org, experiment.id)
        job, new = start_scoring(session, here, dataset.id, method, actor=caller.subject, request=request)
        if new:
            audit.record(session, caller.org, caller.subject, f"job.{ACTION}", job.id, experiment=here.id)
        return job.id

    job_id = parts.catalog.unit(started)
    wake()
    return Training(jobs.get(parts, caller, experiment.id, job_id), experiment.name)


def newest(
    parts: Parts, caller: Caller, dataset: Dataset, most: int, *, action: Action = "train"
) -> Sequence[Training]:
    """Return the data set's trainings and rounds, batches or scorings: what runs first, then the newest first."""
    allow(caller, Right.READ)
    with parts.catalog.read() as session:
        rows = catalog.jobs_on(session, caller.org, dataset.id, action, most)
    return [Training(job, name) for job, name in rows]


def stop(parts: Parts, caller: Caller, dataset: Dataset, *, action: Action = "train") -> Training | None:
    """Cancel what runs on a data set, or else what waits to; a loop's round only if there is nothing else.

    Raises:
        ForbiddenError: If the caller may not.
    """
    allow(caller, Right.RUN_JOBS)
    living = [each for each in newest(parts, caller, dataset, MOST, action=action) if each.job.status not in TERMINAL]
    if not living:
        return None
    first = min(living, key=lambda each: each.job.parent_id is not None)
    job = jobs.cancel(parts, caller, first.job.experiment_id, first.job.id)
    return Training(job, first.trainer)

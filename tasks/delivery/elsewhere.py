"""A training written to the MLflow server that its `train_spec` names, besides ours: behind, and as well as may be.

The place up to which it was told travels in the outbox's entry, which is followed by the next one until the job ends.
Nothing of ours depends on that server: after eight tries within an hour and a half it hears no more of the job.
"""

from pydantic import BaseModel

from configs.specs.round import RoundSpec
from configs.states import TERMINAL, JobStatus
from infra.adapters.catalog import outbox
from infra.adapters.catalog.outbox import Entry, OutboxKind
from infra.adapters.catalog.tables import Experiment, Job
from infra.adapters.tracking.base import Tracking
from infra.wiring import Parts
from tasks.delivery.events import read_events
from tasks.delivery.metrics import result_points
from tasks.delivery.tracking import ENDS, attempt_folders, group_name, name_of, params_of, tags_of

# An hour and a half in all: a notebook's MLflow that is switched off is not asked for ever.
DELAYS_S = (5.0, 15.0, 60.0, 300.0, 900.0, 1800.0, 1800.0)
# Metrics of a running training are sent as they stand by then, many in one call.
_EVERY_S = 15.0


class Told(BaseModel):
    """The payload of `tracking_elsewhere`: bytes of the job's events that were told."""

    offset: int = 0


def track_elsewhere(parts: Parts, entry: Entry) -> None:
    """Tell that server what it has not heard of a training, and come back until the training has ended.

    Raises:
        TrackingError: If it cannot be reached, or refuses.
        InvalidRequestError: If its address leads, by now, to a refused place.
    """
    with parts.catalog.read() as session:
        job = session.get(Job, entry.ref)
        experiment = session.get(Experiment, job.experiment_id) if job else None
        if job is None or experiment is None:
            return
        tags = tags_of(session, experiment, job, None)
    spec = RoundSpec.model_validate(job.spec).train
    if spec.tracked_at is None:
        return
    there = parts.tracking_at(spec.tracked_at)
    group = spec.experiment_name or group_name(experiment)
    run = there.ensure_run(group, job.id, name=name_of(job), started=job.created_at, tags=tags)
    there.log_params(run, params_of(job))
    offset = _tell_events(parts, there, job, run, Told.model_validate(entry.payload).offset)
    if job.status in TERMINAL:
        there.log_metrics(run, result_points(job, 0) if job.result else [])
        there.end_run(run, ENDS[JobStatus(job.status)], at=job.modified_at)
    if job.status in TERMINAL or job.status == JobStatus.PAUSED:
        return  # the attempt that takes a paused one up begins anew
    with parts.catalog.write() as session:
        told = Told(offset=offset).model_dump()
        outbox.enqueue(session, OutboxKind.TRACKING_ELSEWHERE, job.id, told, due_in_s=_EVERY_S)


def _tell_events(parts: Parts, there: Tracking, job: Job, run: str, offset: int) -> int:
    while True:
        reading = read_events(attempt_folders(parts, job), offset)
        if reading.offset == offset:
            return offset
        there.log_metrics(run, reading.points)
        offset = reading.offset

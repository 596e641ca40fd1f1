"""What MLflow is told of a job: written behind, from rows and events that stay, so an outage delays and loses nothing.

Only ids, hashes and numbers: MLflow has no business with names.
"""

import json
from pathlib import Path

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from configs.states import TERMINAL, JobStatus
from infra.adapters.catalog import jobs
from infra.adapters.catalog.outbox import Entry
from infra.adapters.catalog.tables import Experiment, Job, ModelVersion, Publication
from infra.adapters.tracking.base import MetricPoint
from infra.wiring import Parts
from tasks.delivery.events import read_events

PUBLISHED, CHALLENGER = "published", "challenger"
_ENDS = {JobStatus.DONE: "FINISHED", JobStatus.ERROR: "FAILED", JobStatus.CANCELED: "KILLED"}


def track(parts: Parts, entry: Entry) -> None:
    """Bring MLflow up to date with a job, or with what an experiment publishes; nothing where there is no MLflow.

    Raises:
        TrackingError: If MLflow cannot be reached, or refuses.
    """
    if not parts.settings.mlflow_tracking_uri:
        return
    with parts.catalog.read() as session:
        job = session.get(Job, entry.ref)
        experiment = session.get(Experiment, job.experiment_id if job else entry.ref)
    if experiment is None:
        return
    if job is not None:
        _track_job(parts, experiment, job)
    _track_published(parts, experiment)


def behind(parts: Parts, job: Job) -> bool:
    """Say whether training has said more than MLflow knows."""
    folders = attempt_folders(parts, job)
    return read_events(folders, job.events_sent).offset > job.events_sent


def attempt_folders(parts: Parts, job: Job) -> list[Path]:
    """Return the folders of the job's attempts, first to last."""
    return [parts.blobs.attempt_folder(job.id, n) for n in range(1, job.current_attempt + 1)]


def group_name(experiment: Experiment) -> str:
    """Return what MLflow calls the experiment and its registered model."""
    return f"{experiment.arch}-{experiment.id}"


def _track_job(parts: Parts, experiment: Experiment, job: Job) -> None:
    with parts.catalog.read() as session:
        tags = _tags(session, job)
        parent = jobs.get(session, job.parent_id) if job.parent_id else None
        version = session.scalar(select(ModelVersion).where(ModelVersion.job_id == job.id))
    tracking, group = parts.tracking, group_name(experiment)
    above = None
    if parent is not None:
        above = tracking.ensure_run(group, parent.id, name="annotation", tags={"job": parent.id})
        if parent.status in TERMINAL:
            tracking.end_run(above, _ENDS[JobStatus(parent.status)])
    name = f"round {job.round_no}" if job.round_no else job.action
    run = tracking.ensure_run(group, job.id, name=name, tags=tags, parent=above)
    with parts.catalog.write() as session:
        session.execute(update(Job).where(Job.id == job.id).values(tracking_run=run, modified_at=Job.modified_at))
    tracking.log_params(run, _params(job))
    _send_events(parts, job, run)
    _send_result(parts, job, run)
    if version is not None and version.weights is not None:
        number = tracking.register_version(group, version.id, run=run, manifest=_manifest(version))
        tracking.set_alias(group, CHALLENGER, number)
    if job.status in TERMINAL:
        tracking.end_run(run, _ENDS[JobStatus(job.status)])


def _tags(session: Session, job: Job) -> dict[str, str]:
    publication = session.scalar(select(Publication).where(Publication.job_id == job.id))
    bundle = session.scalar(select(Experiment.bundle_id).where(Experiment.id == job.experiment_id))
    tags = {
        "job": job.id,
        "round": job.round_no,
        "attempt": job.current_attempt,
        "snapshot": job.snapshot,
        "bundle": bundle,
        "published_seq": publication.seq if publication else None,
    }
    return {name: str(value) for name, value in tags.items() if value is not None}


def _params(job: Job) -> dict[str, str]:
    """Return the plain numbers and words of what was asked, one level deep."""
    flat = {**job.spec, **{f"train.{name}": value for name, value in dict(job.spec.get("train") or {}).items()}}
    return {name: str(value) for name, value in flat.items() if isinstance(value, bool | int | float)}


def _send_events(parts: Parts, job: Job, run: str) -> None:
    """Send what training said, by offset; what was sent and not noted is sent again, as the same points."""
    offset = job.events_sent
    while True:
        reading = read_events(attempt_folders(parts, job), offset)
        if reading.offset == offset:
            return
        parts.tracking.log_metrics(run, reading.points)
        offset = reading.offset
        with parts.catalog.write() as session:
            session.execute(update(Job).where(Job.id == job.id).values(events_sent=offset, modified_at=Job.modified_at))


def _send_result(parts: Parts, job: Job, run: str) -> None:
    numbers = {name: value for name, value in job.result.items() if isinstance(value, int | float)}
    points = [MetricPoint(f"result/{name}", float(value), 0, job.created_at) for name, value in numbers.items()]
    if job.status in TERMINAL and points:
        parts.tracking.log_metrics(run, points)


def _manifest(version: ModelVersion) -> bytes:
    named = {
        "version": version.id,
        "number": version.number,
        "weights_sha256": version.weights,
        "bundle_sha256": version.bundle_id,
        "snapshot_sha256": version.snapshot,
        "results_sha256": version.results,
        "parent": version.parent_id,
        "job": version.job_id,
        "metrics": version.metrics,
    }
    return json.dumps(named, indent=1, sort_keys=True).encode()


def _track_published(parts: Parts, experiment: Experiment) -> None:
    """Let the alias name what is served; the bundle's own weights are no version of ours and have no entry."""
    with parts.catalog.read() as session:
        version = session.get(ModelVersion, experiment.published_version) if experiment.published_version else None
        run = session.scalar(select(Job.tracking_run).where(Job.id == version.job_id)) if version else None
    if version is None or version.weights is None or run is None:
        return
    group = group_name(experiment)
    number = parts.tracking.register_version(group, version.id, run=run, manifest=_manifest(version))
    parts.tracking.set_alias(group, PUBLISHED, number)

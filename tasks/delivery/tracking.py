"""What MLflow is told of a job: written behind, from rows and events that stay, so an outage delays and loses nothing.

Only ids, hashes, numbers and label names: MLflow has no business with people. Everything is said again without harm,
and to an empty MLflow all of it is said anew.
"""

from collections.abc import Mapping
from pathlib import Path

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from configs.states import TERMINAL, JobStatus
from infra.adapters.catalog import jobs, outbox
from infra.adapters.catalog.outbox import Entry
from infra.adapters.catalog.tables import Experiment, Job, ModelVersion, Publication
from infra.wiring import Parts
from tasks.delivery.events import read_events
from tasks.delivery.metrics import result_points
from tasks.delivery.package import package
from tasks.rounds.records.result import RoundResult

PUBLISHED, CHALLENGER = "published", "challenger"
ENDS = {JobStatus.DONE: "FINISHED", JobStatus.ERROR: "FAILED", JobStatus.CANCELED: "KILLED"}
_LONGEST_TAG = 500


def track(parts: Parts, entry: Entry) -> None:
    """Bring MLflow up to date with a job, or with what an experiment publishes; nothing where there is no MLflow.

    Raises:
        TrackingError: If MLflow cannot be reached, or refuses.
    """
    if not parts.settings.tracking_url:
        return
    with parts.catalog.read() as session:
        job = session.get(Job, entry.ref)
        experiment = session.get(Experiment, job.experiment_id if job else entry.ref)
    if experiment is None:
        return
    if job is not None:
        _track_job(parts, experiment, job)
    _set_aliases(parts, experiment)


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


def aliases(session: Session, experiment: Experiment) -> Mapping[str, ModelVersion | None]:
    """Return what each alias is to name: what is served, and the newest version.

    The bundle's own weights are no version of ours: while they are served, nothing is `published`.
    """
    trained = select(ModelVersion).where(
        ModelVersion.experiment_id == experiment.id, ModelVersion.weights.is_not(None), ModelVersion.job_id.is_not(None)
    )
    published = session.scalar(trained.where(ModelVersion.id == experiment.published_version))
    newest = session.scalar(trained.order_by(ModelVersion.number.desc()).limit(1))
    return {PUBLISHED: published, CHALLENGER: newest}


def name_of(job: Job) -> str:
    """Return what a run is called."""
    return f"round {job.round_no}" if job.round_no else job.action


def _track_job(parts: Parts, experiment: Experiment, job: Job) -> None:
    if job.action == "annotation":
        _track_loop(parts, experiment, job)
        return
    with parts.catalog.read() as session:
        parent = jobs.get(session, job.parent_id) if job.parent_id else None
        version = session.scalar(select(ModelVersion).where(ModelVersion.job_id == job.id))
        tags = tags_of(session, experiment, job, version)
    above = _track_loop(parts, experiment, parent) if parent is not None else None
    run = _run_of(parts, experiment, job, name_of(job), tags, above)
    parts.tracking.log_params(run, params_of(job))
    _send_events(parts, job, run)
    if job.action == "train" and job.result and job.status in TERMINAL:
        parts.tracking.log_metrics(run, result_points(job, 0))
        if above is not None:
            parts.tracking.log_metrics(above, result_points(job, job.round_no or 0))
    if version is not None and version.weights is not None:
        _register(parts, experiment, version, run)
    if job.status in TERMINAL:
        parts.tracking.end_run(run, ENDS[JobStatus(job.status)], at=job.modified_at)


def _track_loop(parts: Parts, experiment: Experiment, loop: Job) -> str:
    """Return the run of a loop, under which its rounds are shown."""
    tags = {"job": loop.id, "bundle": experiment.bundle_id, "rounds": str(loop.rounds_done), "status": loop.status}
    run = _run_of(parts, experiment, loop, "annotation", tags)
    if loop.status in TERMINAL:
        parts.tracking.end_run(run, ENDS[JobStatus(loop.status)], at=loop.modified_at)
    return run


def _run_of(
    parts: Parts, experiment: Experiment, job: Job, name: str, tags: Mapping[str, str], parent: str | None = None
) -> str:
    """Return the job's run. One that is not the run of before knows nothing yet: it is told from the first event on."""
    group = group_name(experiment)
    run = parts.tracking.ensure_run(group, job.id, name=name, started=job.created_at, tags=tags, parent=parent)
    if run != job.tracking_run:
        _note(parts, job, tracking_run=run, events_sent=0)
        job.events_sent = 0
    return run


def _note(parts: Parts, job: Job, **values: str | int) -> None:
    with parts.catalog.write() as session:
        session.execute(update(Job).where(Job.id == job.id).values(modified_at=Job.modified_at, **values))


def tags_of(session: Session, experiment: Experiment, job: Job, version: ModelVersion | None) -> dict[str, str]:
    """Return what a round is known by. The verdict is the gate's: what a person wrote about it stays with us."""
    result = RoundResult.model_validate(job.result) if job.action == "train" else RoundResult()
    seq = None
    if version is not None:
        last = select(Publication.seq).where(Publication.version_id == version.id).order_by(Publication.seq.desc())
        seq = session.scalar(last.limit(1))
    tags = {
        "job": job.id,
        "round": job.round_no,
        "attempts": job.current_attempt,
        "snapshot": job.snapshot,
        "bundle": experiment.bundle_id,
        "version": version.id if version else None,
        "published_seq": seq,
        "decision": result.decision,
        "verdict": result.verdict.told()[:_LONGEST_TAG] if result.verdict else None,
        "metric_name": result.metric_name or None,
        "metric_kind": result.metric_kind,
        "head_rebuilt": True if result.head_rebuilt else None,
    }
    return {name: str(value) for name, value in tags.items() if value is not None}


def params_of(job: Job) -> dict[str, str]:
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
        _note(parts, job, events_sent=offset)


def _register(parts: Parts, experiment: Experiment, version: ModelVersion, run: str) -> str:
    """Return the version's number in the registry; its files are sent once."""
    group = group_name(experiment)
    number = parts.tracking.find_version(group, version.id)
    if number is not None:
        return number
    tags = {"version": str(version.number), "job": version.job_id or "", "snapshot": version.snapshot or ""}
    files = package(parts, experiment, version)
    return parts.tracking.register_version(group, version.id, run=run, tags=tags, files=files)


def _set_aliases(parts: Parts, experiment: Experiment) -> None:
    group = group_name(experiment)
    with parts.catalog.read() as session:
        wanted = aliases(session, experiment)
    for alias, version in wanted.items():
        if parts.tracking.aliased(group, alias) == (version.id if version else None):
            continue
        number = _number_of(parts, experiment, version) if version is not None else None
        if number is not None:
            parts.tracking.set_alias(group, alias, number)
        elif version is None:
            parts.tracking.remove_alias(group, alias)


def _number_of(parts: Parts, experiment: Experiment, version: ModelVersion) -> str | None:
    """Return the number of a version, whose job is told first: it may be new to MLflow, or published just now.

    A job that is told in its own turn is left to it: so versions are numbered in the order in which they were made.
    """
    with parts.catalog.read() as session:
        job = session.get(Job, version.job_id)
        comes = outbox.undelivered(session, outbox.OutboxKind.TRACKING, version.job_id or "")
    if job is not None and not comes:
        _track_job(parts, experiment, job)
    return parts.tracking.find_version(group_name(experiment), version.id)

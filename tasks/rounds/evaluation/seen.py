"""Which images a model has trained on before: what is new is predicted by it first, once over all rounds."""

from sqlalchemy import exists, select
from sqlalchemy.orm import Session

from configs.states import JobStatus
from infra.adapters.catalog.tables import Decision, Experiment, Job, ModelVersion
from infra.wiring import Parts
from tasks.rounds.records.snapshot import Snapshot

_NEWEST = 5
"""Snapshots that are looked at: each carries what came before it; a rerun of an old one does not."""


def seen_images(parts: Parts, session: Session, experiment: Experiment) -> set[int]:
    """Return the images that a finished round of the experiment has trained on, or what its first weights come from."""
    # A skipped round has a snapshot too, and trained on none of it.
    skipped = exists().where(Decision.job_id == Job.id, Decision.outcome == "skipped")
    query = (
        select(Job.snapshot)
        .where(Job.experiment_id == experiment.id, Job.status == JobStatus.DONE, Job.snapshot.is_not(None), ~skipped)
        .order_by(Job.created_at.desc())
        .limit(_NEWEST)
    )
    hashes = [sha256 for sha256 in session.scalars(query) if sha256] or _before(session, experiment)
    seen: set[int] = set()
    for sha256 in dict.fromkeys(hashes):
        snapshot = Snapshot.model_validate_json(parts.blobs.read_bytes(sha256))
        # Weights that were uploaded have trained on nothing here: its labels are new to the rounds that follow.
        learnt = [] if snapshot.spec.uploaded else snapshot.side("train", "validate")
        seen.update(snapshot.seen, (row.image for row in learnt))
    return seen


def _before(session: Session, experiment: Experiment) -> list[str]:
    """Return the snapshot of the version that the experiment's weights come from, however many experiments back."""
    version = session.scalar(
        select(ModelVersion).where(ModelVersion.experiment_id == experiment.id, ModelVersion.number == 0)
    )
    while version is not None and version.parent_id is not None:
        version = session.get(ModelVersion, version.parent_id)
        if version is not None and version.snapshot is not None:
            return [version.snapshot]
    return []

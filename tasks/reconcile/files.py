"""Files that nothing names any more: once a day, of what is a week old.

A blob is named by a column, or as a label's content by the snapshot of an experiment that was not deleted. What stands
here is listed first and the names are asked for afterwards: a name comes either from a row that has it already or from
a put, and a put makes the blob new again.
"""

import logging
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError
from sqlalchemy import select

from configs.errors import CorruptError, NotFoundError
from infra.adapters.catalog import loops
from infra.adapters.catalog.blobs import named
from infra.adapters.catalog.tables import Experiment, Job, ModelVersion
from infra.wiring import Parts
from tasks.rounds.steps.tidy import tidy_ended
from tasks.rounds.steps.work import read_snapshot

# It walks all files; what it finds takes only room.
SWEEP_EVERY_S = 24 * 3600.0
# No unit, upload or backup takes a week: what nobody names by then, nobody will.
KEPT_S = 7 * 24 * 3600.0
_BATCH = 500
_SCRATCH = (
    "score-*",
    "check-*",
    "export-*",
    "backup-*",
    "restore-*",
)  # removed by who made them, unless they were killed
log = logging.getLogger(__name__)


def files_swept(parts: Parts) -> int:
    """Remove blobs that nothing names, what killed puts began, and working files of jobs that ended without them."""
    with parts.catalog.write() as session:
        if not loops.is_time(session, "files", SWEEP_EVERY_S):
            return 0
    return (
        _blobs(parts)
        + parts.blobs.drop_partial(older_than_s=KEPT_S)
        + tidy_ended(parts)
        + _scratch(parts.settings.home / "work")
    )


def _blobs(parts: Parts) -> int:
    old = list(parts.blobs.hashes(older_than_s=KEPT_S))
    batches = [old[start : start + _BATCH] for start in range(0, len(old), _BATCH)]
    unnamed = [sha256 for batch in batches for sha256 in sorted(set(batch) - _named(parts, batch))]
    if not unnamed:
        return 0
    try:
        learnt = _learnt_from(parts)
    except (NotFoundError, CorruptError, ValidationError) as error:
        # What it names cannot be told from what nobody names.
        log.warning("no unused file is removed, for a snapshot cannot be read: %s", error)
        return 0
    return sum(parts.blobs.delete(sha256, older_than_s=KEPT_S) for sha256 in unnamed if sha256 not in learnt)


def _named(parts: Parts, hashes: Sequence[str]) -> set[str]:
    with parts.catalog.read() as session:
        return named(session, hashes)


def _learnt_from(parts: Parts) -> set[str]:
    """Return the labels' contents that snapshots name: their rows may have been given other contents since."""
    living = select(Experiment.id).where(Experiment.deleted_at.is_(None))
    with parts.catalog.read() as session:
        of_jobs = session.scalars(select(Job.snapshot).where(Job.experiment_id.in_(living))).all()
        of_models = session.scalars(select(ModelVersion.snapshot).where(ModelVersion.experiment_id.in_(living))).all()
    snapshots = {sha256 for sha256 in (*of_jobs, *of_models) if sha256}
    return {row.label_sha256 for sha256 in sorted(snapshots) for row in read_snapshot(parts, sha256).rows}


def _scratch(work: Path) -> int:
    found = [path for pattern in _SCRATCH for path in work.glob(pattern)]
    old = [path for path in found if time.time() - path.stat().st_mtime > KEPT_S]
    for path in old:
        shutil.rmtree(path, ignore_errors=True)
    return len(old)

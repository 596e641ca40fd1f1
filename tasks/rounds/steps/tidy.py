"""What an attempt leaves on this host's disk when its flow ends: logs and events stay, the rest can be made again."""

import re
import shutil
from collections.abc import Iterable
from pathlib import Path

from sqlalchemy import select

from configs.states import TERMINAL
from infra.adapters.catalog import jobs
from infra.adapters.catalog.tables import Job
from infra.adapters.catalog.tables.base import now
from infra.adapters.security.redact import redact_file
from infra.wiring import Parts
from tasks.rounds.steps.work import Claim

_WORKING = ("labels", "*/in", "*/out", "*/tmp")
_JOB = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_OVER_S = 24 * 3600.0  # a round that is done may still score images, and one that lost its claim take its leave
_BATCH = 500


def tidy(parts: Parts, held: Claim) -> None:
    """Remove the files that this attempt and those before it worked with; of an ended job the checkpoints, too.

    What a bundle printed goes straight to its log; here secrets and identifiers are taken out of it.

    Every attempt has the labels of all cases unpacked: kept, a loop's disk use would grow with the square of its
    rounds. Attempts before this one are over, whatever became of their processes.
    """
    with parts.catalog.read() as session:
        ended = jobs.get(session, held.job_id).status in TERMINAL
    for n in range(1, held.n + 1):
        _clear(parts, held.job_id, n)
        if ended:
            _remove([parts.blobs.attempt_folder(held.job_id, n) / "checkpoints"])


def tidy_ended(parts: Parts) -> int:
    """Do the same for jobs that ended a day ago or longer and whose process did not live to do it.

    Returns:
        How many attempts had left something on this host, or in the artifacts.
    """
    folders = (parts.settings.home / "work", parts.settings.artifacts_dir / "attempts")
    found = sorted({entry.name for folder in folders for entry in folder.glob("*") if _JOB.fullmatch(entry.name)})
    left = 0
    for start in range(0, len(found), _BATCH):
        over = (Job.id.in_(found[start : start + _BATCH]), Job.status.in_(TERMINAL), Job.modified_at < now() - _OVER_S)
        with parts.catalog.read() as session:
            ended = session.execute(select(Job.id, Job.current_attempt).where(*over)).all()
        left += sum(_clear_left(parts, job_id, n) for job_id, last in ended for n in range(1, last + 1))
    return left


def _clear_left(parts: Parts, job_id: str, n: int) -> bool:
    checkpoints = parts.settings.artifacts_dir / "attempts" / job_id / str(n) / "checkpoints"
    left = _working(parts, job_id, n)
    if not left and not checkpoints.exists():
        return False
    _clear(parts, job_id, n)
    _remove([checkpoints])
    return True


def _clear(parts: Parts, job_id: str, n: int) -> None:
    """Remove what an attempt worked with, and take out of its logs what no log may hold."""
    _remove(_working(parts, job_id, n))
    for log in _folder(parts, job_id, n).glob("*/log.txt"):
        redact_file(log, parts.redactor)


def _working(parts: Parts, job_id: str, n: int) -> list[Path]:
    return [found for pattern in _WORKING for found in _folder(parts, job_id, n).glob(pattern)]


def _folder(parts: Parts, job_id: str, n: int) -> Path:
    return parts.settings.home / "work" / job_id / str(n)


def _remove(folders: Iterable[Path]) -> None:
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)

"""What an attempt leaves on this host's disk when its flow ends: logs and events stay, the rest can be made again."""

import shutil
from collections.abc import Iterable
from pathlib import Path

from configs.states import TERMINAL
from infra.adapters.catalog import jobs
from infra.adapters.security.redact import redact_file
from infra.wiring import Parts
from tasks.rounds.work import Claim

_WORKING = ("labels", "*/in", "*/out", "*/tmp")


def tidy(parts: Parts, held: Claim) -> None:
    """Remove the files that this attempt and those before it worked with; of an ended job the checkpoints, too.

    What a bundle printed goes straight to its log; here secrets and identifiers are taken out of it.

    Every attempt has the labels of all cases unpacked: kept, a loop's disk use would grow with the square of its
    rounds. Attempts before this one are over, whatever became of their processes.
    """
    with parts.catalog.read() as session:
        ended = jobs.get(session, held.job_id).status in TERMINAL
    for n in range(1, held.n + 1):
        work = parts.settings.home / "work" / held.job_id / str(n)
        for pattern in _WORKING:
            _remove(work.glob(pattern))
        for log in work.glob("*/log.txt"):
            redact_file(log, parts.redactor)
        if ended:
            _remove([parts.blobs.attempt_folder(held.job_id, n) / "checkpoints"])


def _remove(folders: Iterable[Path]) -> None:
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)

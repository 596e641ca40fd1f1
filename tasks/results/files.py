"""A job's files: what it made, as it lies on this machine, under the names by which callers ask for them."""

from pathlib import Path
from typing import NamedTuple

from configs.specs.batch import BatchSpec
from infra.adapters.catalog.tables import Job
from infra.wiring import Parts
from tasks.batch.listed import folder_of, list_in, read_lines
from tasks.batch.start import ACTION as BATCH


class JobFile(NamedTuple):
    """One file. `name`: its path below the job, with `/`."""

    name: str
    path: Path


def files_of(parts: Parts, job: Job) -> list[JobFile]:
    """Return the files that are whole so far, in the order of their names."""
    return _predictions(parts, job) if job.action == BATCH else []


def _predictions(parts: Parts, job: Job) -> list[JobFile]:
    folder = folder_of(parts, job.id, BatchSpec.model_validate(job.spec))
    names = sorted({line.file for line in read_lines(list_in(folder, job.id))})
    found = [list_in(folder, job.id), *(folder / name for name in names)] if names else []
    return [JobFile(str(path.relative_to(folder)), path) for path in found]

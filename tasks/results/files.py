"""A job's files: what it made, as it lies on this machine, under the names by which callers ask for them.

train        model.safetensors   the weights: the best ones, where there was validation
             scores.json         published model and challenger on each case, by catalog id
             metrics/<n>.jsonl   curves of the n-th attempt, a point a line
annotation   what its last published round has
batchinfer   <job>.jsonl         its list, and the files that it names
"""

from pathlib import Path
from typing import BinaryIO, NamedTuple

from sqlalchemy import select
from sqlalchemy.orm import Session

from configs.specs.batch import BatchSpec
from infra.adapters.catalog import jobs
from infra.adapters.catalog.tables import Job, ModelVersion, Publication
from infra.wiring import Parts
from tasks.batch.listed import folder_of, list_in, read_lines, table_in
from tasks.batch.start import ACTION as BATCH

MODEL = "model.safetensors"


class JobFile(NamedTuple):
    """One file. `name`: its path below the job, with `/`."""

    name: str
    path: Path

    def open(self) -> BinaryIO:
        """Return it open."""
        return self.path.open("rb")


def files_of(parts: Parts, job: Job) -> list[JobFile]:
    """Return the files that are whole so far, in the order of their names."""
    if job.action == BATCH:
        return _predictions(parts, job)
    with parts.catalog.read() as session:
        version = version_of(session, job)
        blobs = {MODEL: version.weights, "scores.json": version.results} if version else {}
    made = [JobFile(name, parts.blobs.path(sha256)) for name, sha256 in blobs.items() if sha256 is not None]
    return sorted([*made, *_curves(parts, (version.job_id if version else None) or job.id)])


def version_of(session: Session, job: Job) -> ModelVersion | None:
    """Return the version that a training made, or of a loop's rounds the one that was published last; None = none."""
    if job.action == "annotation":
        rounds = [each.id for each in jobs.children(session, job.id)]
        query = select(ModelVersion).join(Publication, Publication.version_id == ModelVersion.id)
        return session.scalar(query.where(ModelVersion.job_id.in_(rounds)).order_by(Publication.seq.desc()).limit(1))
    return session.scalar(select(ModelVersion).where(ModelVersion.job_id == job.id))


def _curves(parts: Parts, job_id: str) -> list[JobFile]:
    found = (parts.settings.artifacts_dir / "attempts" / job_id).glob("*/events.jsonl")
    return [JobFile(f"metrics/{path.parent.name}.jsonl", path) for path in found]


def _predictions(parts: Parts, job: Job) -> list[JobFile]:
    folder = folder_of(parts, job.id, BatchSpec.model_validate(job.spec))
    names = sorted({line.file for line in read_lines(list_in(folder, job.id))})
    # Of classes there is a table, of boxes none.
    tables = [path for path in [table_in(folder)] if path.exists() and any(name.endswith(".json") for name in names)]
    found = [list_in(folder, job.id), *tables, *(folder / name for name in names)] if names else []
    return [JobFile(str(path.relative_to(folder)), path) for path in found]
